//! A handler that serves a directory.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, ETAG,
    HeaderName, LAST_MODIFIED, LOCATION, RANGE, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::file_body::FileBody;
use super::files::{Accepted, File, FileRoot, Form, Known, Listing, Listings, LookupError, Order, html, json, plan};
use super::response::Response;
use crate::h3::Request;
use crate::net;

/// Jobs for files that wait and run at a time. Each is for a request, but may outlive it.
const MAX_JOBS: usize = 64 * 1024;
/// A listing that is shorter is not compressed.
const MIN_COMPRESSED: usize = 1024;

/// A directory to serve: media types, `index.html` for directories, ranges (RFC 9110 section 14) and conditional
/// requests (section 13). No path leads out of it, and names that begin with a dot are hidden, except `.well-known` in the
/// directory itself (RFC 8615). Names are bytes: they need not be UTF-8.
///
/// Files are opened, checked once a second and read from the disk on the threads for blocking work
/// ([`offload_threads`](crate::ServerConfig::offload_threads)), so that a slow disk does not stop the loop. What is in
/// memory is sent by the loop itself.
///
/// A clone has the same cache: workers may share it.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use mio_quiche::{Router, StaticFiles};
///
/// let mut files = StaticFiles::open("public".as_ref())?;
/// let router = Router::new().get("/files/*", move |req, res| files.respond(req, "*", res));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct StaticFiles {
    shared: Arc<Shared>,
    options: Options,
}

#[derive(Debug)]
struct Shared {
    root: Mutex<FileRoot>,
    listings: Listings,
}

#[derive(Clone, Debug, Default)]
struct Options {
    listing: bool,
    compress: bool,
    fallback: bool,
    cache_control: Option<HeaderValue>,
}

impl StaticFiles {
    /// Serves `dir`.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let root = Mutex::new(FileRoot::open(dir)?);
        let shared = Arc::new(Shared { root, listings: Listings::default() });
        Ok(StaticFiles { shared, options: Options::default() })
    }

    /// Whether a directory without `index.html` is answered with a page of its entries, or with JSON for `?json`. Default
    /// false: it is answered with 404.
    ///
    /// The page orders the entries by `?sort=name`, `size` or `date`, and `&order=desc`. It has the first 2000 entries by
    /// name, and says how many there are.
    #[must_use]
    pub fn listing(mut self, on: bool) -> Self {
        self.options.listing = on;
        self
    }

    /// Whether `FILE.br`, `FILE.zst` and `FILE.gz` are sent instead of FILE to clients that accept these content codings
    /// (RFC 9110 section 12.5.3). One that is older than FILE is not. Default false.
    #[must_use]
    pub fn precompressed(self, on: bool) -> Self {
        self.shared.root().set_precompressed(on);
        self
    }

    /// Whether texts of 512 bytes to 4 MiB, and listings, are compressed by brotli or gzip for clients that accept that.
    /// The threads for blocking work do it, and at most 32 MiB of results are kept. Default false.
    #[must_use]
    pub fn compress(mut self, on: bool) -> Self {
        self.shared.root().set_compress(on);
        self.options.compress = on;
        self
    }

    /// The `cache-control` field (RFC 9111 section 5.2) of files, unless the response begins with another one. Default
    /// none.
    #[must_use]
    pub fn cache_control(mut self, value: HeaderValue) -> Self {
        self.options.cache_control = Some(value);
        self
    }

    /// Whether a path that leads nowhere is answered with the `index.html` of the directory itself, as applications of a
    /// single page need. Not if its last segment has a dot, as a file that is missing is missing, or another one begins with one. Default false.
    #[must_use]
    pub fn single_page(mut self, on: bool) -> Self {
        self.options.fallback = on;
        self
    }

    /// The response for the file that the route's parameter `param` names.
    #[must_use]
    pub fn respond(&mut self, request: &Request, param: &str, response: Response) -> Response {
        let Some(path) = request.param_bytes(param) else { return response.status(404) };
        let now = net::now();
        let headers = request.headers();
        let (accepted, is_range) = (Accepted::of(headers), headers.contains_key(RANGE));
        let known = {
            let root = &mut *self.shared.root();
            let known = root.peek(now, &path);
            if let Ok(Known::File(file)) = &known
                && let Form::Ready(entry) = root.form(file, &accepted, is_range)
            {
                let plan = plan(&entry, request.method(), headers);
                return Found::File(plan, entry).respond(response, &self.options);
            }
            known
        };
        if known.is_err() && !self.options.fallback {
            return response.status(404);
        }
        let search = Search {
            shared: Arc::clone(&self.shared),
            options: self.options.clone(),
            now,
            known,
            path: path.into_owned(),
            url_path: request.normal_path().to_owned(),
            query: Query::of(request),
            method: request.method().clone(),
            headers: headers.clone(),
            accepted,
            is_range,
        };
        let options = self.options.clone();
        response.offload_within(MAX_JOBS, move || search.run(), move |found, res| found.respond(res, &options))
    }
}

impl Shared {
    fn root(&self) -> MutexGuard<'_, FileRoot> {
        // A panic in between leaves a cache that is whole.
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the query of a request for a directory asks for.
struct Query {
    whole: String,
    order: Order,
    is_json: bool,
}

impl Query {
    fn of(request: &Request) -> Self {
        let order = Order::of(request.query_param("sort").as_deref(), request.query_param("order").as_deref());
        let whole = request.query().map(|query| format!("?{query}")).unwrap_or_default();
        Query { whole, order, is_json: request.query_param("json").is_some() }
    }
}

/// Looks for what a request asks for, on a thread for blocking work.
struct Search {
    shared: Arc<Shared>,
    options: Options,
    now: Instant,
    /// Of the path.
    known: Result<Known, LookupError>,
    path: Vec<u8>,
    /// Percent-encoded.
    url_path: String,
    query: Query,
    method: Method,
    headers: HeaderMap,
    accepted: Accepted,
    is_range: bool,
}

/// What there is.
enum Found {
    File(super::files::FilePlan, Arc<super::files::FileEntry>),
    Page { content_type: &'static str, body: Vec<u8>, coding: Option<&'static str>, varies: bool },
    Redirect(String),
    Nothing,
    Failure,
}

impl Search {
    fn run(mut self) -> Found {
        let known = std::mem::replace(&mut self.known, Err(LookupError::NotFound));
        let found = match known.and_then(|known| self.file(known)) {
            Err(LookupError::NotFound) if self.may_list() => self.list(),
            found => found,
        };
        let found = match found {
            Err(LookupError::NotFound) if self.options.fallback && !self.names_a_file() => self.fallback(),
            found => found,
        };
        found.unwrap_or_else(|error| match error {
            LookupError::NotFound => Found::Nothing,
            LookupError::RedirectToSlash => {
                // Browsers take a backslash for a slash, and two slashes begin the name of another host.
                Found::Redirect(format!("{}/{}", self.url_path.replace('\\', "%5C"), self.query.whole))
            }
            LookupError::Io(error) => {
                log::error!("cannot read '{}': {error}", self.path.escape_ascii());
                Found::Failure
            }
        })
    }

    fn fallback(&self) -> Result<Found, LookupError> {
        let known = self.shared.root().peek(self.now, b"")?;
        self.file(known)
    }

    fn file(&self, known: Known) -> Result<Found, LookupError> {
        // The root is not locked while the disk is asked.
        let file = match known {
            Known::File(file) => file,
            Known::Ask(question) => {
                let (name, answer) = question.ask();
                self.shared.root().store(self.now, &name, &answer);
                File::new(name, answer?)
            }
        };
        loop {
            let form = self.shared.root().form(&file, &self.accepted, self.is_range);
            match form {
                Form::Ready(entry) => return Ok(Found::File(plan(&entry, &self.method, &self.headers), entry)),
                Form::Compress(coding) => {
                    let form = file.compress(coding)?;
                    self.shared.root().store_compressed(&file, coding, form.clone());
                    if let Some(entry) = form {
                        return Ok(Found::File(plan(&entry, &self.method, &self.headers), entry));
                    }
                }
            }
        }
    }

    fn may_list(&self) -> bool {
        self.options.listing && (self.path.is_empty() || self.path.ends_with(b"/"))
    }

    /// The path, which ends in a slash or is empty, is a visible one.
    fn list(&self) -> Result<Found, LookupError> {
        let dir = {
            let root = &mut *self.shared.root();
            root.peek(self.now, &self.path)?;
            root.dir()
        };
        let listing = self.shared.listings.get(&dir, &self.path, net::now)?;
        Ok(self.page(&listing))
    }

    fn page(&self, listing: &Listing) -> Found {
        let Query { order, is_json, .. } = self.query;
        let (content_type, body) = match is_json {
            true => ("application/json", json(listing, order)),
            false => {
                let page = html(listing, &self.url_path, self.path.is_empty(), order);
                ("text/html; charset=utf-8", page.into_bytes())
            }
        };
        let varies = self.options.compress && body.len() >= MIN_COMPRESSED;
        let (body, coding) = match varies.then(|| self.accepted.encode(&body)).flatten() {
            Some((coding, encoded)) => (encoded, Some(coding)),
            None => (body, None),
        };
        Found::Page { content_type, body, coding, varies }
    }

    fn names_a_file(&self) -> bool {
        let mut segments = self.path.rsplit(|byte| *byte == b'/');
        segments.next().is_some_and(|last| last.contains(&b'.')) || segments.any(|segment| segment.starts_with(b"."))
    }
}

impl Found {
    fn respond(self, mut response: Response, options: &Options) -> Response {
        match self {
            Found::Nothing => response.status(404),
            Found::Failure => response.status(500),
            Found::Redirect(location) => match HeaderValue::try_from(location) {
                Ok(location) => response.status(308).header(LOCATION, location),
                Err(_) => response.status(404),
            },
            Found::File(plan, entry) => {
                let mut response = response.status(plan.status.as_u16());
                let headers = &mut response.head.headers;
                if let Some(value) = options.cache_control.clone().filter(|_| !plan.status.is_client_error()) {
                    headers.entry(CACHE_CONTROL).or_insert(value);
                }
                for (name, value) in &plan.headers {
                    // What describes the bytes is true; the rest may be set otherwise before.
                    if *name == VARY {
                        headers.append(name, value.clone());
                    } else if is_exact(name) || !headers.contains_key(name) {
                        headers.insert(name, value.clone());
                    }
                }
                response.stream_with_pool(MAX_JOBS, move |reader| FileBody::new(entry, plan.body, reader))
            }
            Found::Page { content_type, body, coding, varies } => {
                let headers = &mut response.head.headers;
                // Names are escaped; this is in case one is not.
                let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'");
                headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
                headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
                if varies {
                    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
                }
                if let Some(coding) = coding {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
                }
                response.bytes(content_type, body)
            }
        }
    }
}

fn is_exact(name: &HeaderName) -> bool {
    [ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED].contains(name)
}
