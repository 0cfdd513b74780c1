//! A handler that serves a directory.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::LOCATION;

use super::files::{FileEntry, FileRoot, LookupError, plan};
use super::response::Response;
use super::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::Result;
use crate::h3::Request;
use crate::net;

/// Bytes read from a file per call.
const CHUNK: usize = 64 * 1024;

/// A directory to serve: media types, `index.html` for directories, ranges (RFC 9110 section 14) and conditional
/// requests (section 13). No path leads out of it, and names that begin with a dot are hidden, except `.well-known` in the
/// directory itself (RFC 8615). Names are bytes: they need not be UTF-8.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use mio_quiche::{Router, StaticFiles};
///
/// let mut files = StaticFiles::open("public".as_ref())?;
/// let router = Router::new().get("/files/*", move |req, res| files.respond(req, "*", res));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct StaticFiles {
    root: FileRoot,
}

impl StaticFiles {
    /// Serves `dir`.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(StaticFiles { root: FileRoot::open(dir)? })
    }

    /// The response for the file that the route's parameter `param` names.
    #[must_use]
    pub fn respond(&mut self, request: &Request, param: &str, response: Response) -> Response {
        let Some(path) = request.param_bytes(param) else { return response.status(404) };
        let entry = match self.root.lookup(net::now(), &path) {
            Ok(entry) => entry,
            Err(LookupError::NotFound) => return response.status(404),
            Err(LookupError::RedirectToSlash) => return redirect_to_slash(request, response),
            Err(LookupError::Io(e)) => {
                log::error!("cannot read '{}': {e}", path.escape_ascii());
                return response.status(500);
            }
        };
        let plan = plan(&entry, request.method(), request.headers());
        let mut response = response.status(plan.status.as_u16());
        response.head.headers.extend(plan.headers);
        response.stream(FileBody { entry, rest: plan.body, chunk: Bytes::new() })
    }
}

fn redirect_to_slash(request: &Request, response: Response) -> Response {
    let query = request.query().map(|q| format!("?{q}")).unwrap_or_default();
    match HeaderValue::try_from(format!("{}/{query}", request.normal_path())) {
        Ok(location) => response.status(308).header(LOCATION, location),
        Err(_) => response.status(404),
    }
}

/// Sends a part of a file.
struct FileBody {
    entry: Arc<FileEntry>,
    rest: Range<u64>,
    chunk: Bytes,
}

impl StreamHandler for FileBody {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            if self.chunk.is_empty() && !self.rest.is_empty() {
                let max = CHUNK.min((self.rest.end - self.rest.start) as usize);
                self.chunk = self.entry.read_at(self.rest.start, max)?;
                self.rest.start += self.chunk.len() as u64;
            }
            if self.rest.is_empty() {
                return Ok(match s.finish_with(&mut self.chunk)? {
                    true => Progress::Done,
                    false => Progress::Pending,
                });
            }
            s.write_bytes(&mut self.chunk)?;
            if !self.chunk.is_empty() {
                return Ok(Progress::Pending);
            }
        }
    }
}
