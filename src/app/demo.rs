//! The routes of the demo server, used by the tests and benchmarks.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use ring::digest;
use serde::Serialize;

use super::checksum::{hex, sha256};
use super::response::Response;
use super::router::Router;
use super::static_files::StaticFiles;
use super::stream_handler::{Echo, Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::{ConfigError, Error, Result};
use crate::h3::{Recv, Request, decimal};

/// Period of the demo's payload in bytes: the byte at offset `n` is `n % 251`.
const PERIOD: usize = 251;
/// Bytes written per call.
const CHUNK: usize = 64 * 1024;
/// The longest delay that `/slow` accepts.
const MAX_DELAY: Duration = Duration::from_secs(60);

static PAYLOAD: LazyLock<Bytes> = LazyLock::new(|| (0..CHUNK + PERIOD).map(|n| (n % PERIOD) as u8).collect());

#[derive(Clone, Serialize)]
struct User {
    id: u64,
    name: &'static str,
}

const USERS: [User; 3] = [User { id: 1, name: "Ada" }, User { id: 2, name: "Grace" }, User { id: 42, name: "Douglas" }];

/// The demo's routes; with `root`, its files under `/files/`.
///
/// | route | response |
/// |---|---|
/// | `GET /` | `Hello, HTTP/3!` |
/// | `GET /api/users`, `/api/users/:id` | JSON |
/// | `POST /api/echo` | the request's body |
/// | `GET /files/*` | files of the root directory |
/// | `GET /stream/:bytes` | that many bytes, with their SHA-256 as the trailer `x-checksum` (not with `?checksum=off`) |
/// | `POST /upload` | JSON with the number of bytes received and their SHA-256 (not with `?checksum=off`) |
/// | `GET`, `POST /trailers/demo` | a body with trailers; lists the trailers of the request |
/// | `GET /slow?delay=MS` | a response after that many milliseconds |
/// | `GET /status/:code` | the plain response for a status |
/// | `GET`, `POST /h3dgram/echo` | echoes HTTP datagrams until the request ends, then returns their number |
/// | WebTransport `/wt/echo` | echoes datagrams and streams; `?open=N` opens N streams to the client |
/// | WebTransport `/wt/hash` | returns the length and SHA-256 of each stream; `?pause=MS` delays reading the first one |
/// | WebTransport `/wt/close` | closed with `?code=N&reason=TEXT&repeat=N`, at once or on the first datagram (`&on=datagram`); `&streams=echo` |
/// | WebTransport `/wt/reject` | rejected with `?status=N` |
/// | `GET /wt/closes` | JSON of the sessions that ended since the last call |
///
/// QUIC datagrams that do not belong to HTTP are echoed.
///
/// # Errors
/// When the root directory cannot be opened.
pub fn router(root: Option<&Path>) -> Result<Router> {
    let router = Router::new()
        .get("/", |_req, res| res.text("Hello, HTTP/3!\n"))
        .get("/api/users", |_req, res| res.json(&USERS))
        .get("/api/users/:id", user)
        .post("/api/echo", |req, res| match req.headers().get(CONTENT_TYPE) {
            Some(content_type) => res.header(CONTENT_TYPE, content_type.clone()).stream(Echo::default()),
            None => res.stream(Echo::default()),
        })
        .get("/stream/:bytes", stream)
        .post("/upload", |req, res| res.stream(Upload::new(wants_checksum(req))))
        .get("/trailers/demo", |_req, res| res.stream(Trailers::default()))
        .post("/trailers/demo", |_req, res| res.stream(Trailers::default()))
        .get("/slow", slow)
        .get("/status/:code", |req, res| match req.param("code").and_then(|c| c.parse().ok()) {
            Some(code) => res.status(code),
            None => res.status(400).text("the status must be a number\n"),
        });
    let router = super::demo_sessions::add_routes(router);
    let Some(root) = root else { return Ok(router) };
    let open = StaticFiles::open(root);
    let mut files = open.map_err(|source| ConfigError::Path { what: "root directory", path: root.into(), source })?;
    Ok(router.get("/files/*", move |req, res| files.respond(req, "*", res)))
}

fn user(req: &Request, res: Response) -> Response {
    match req.param("id").and_then(|id| id.parse::<u64>().ok()) {
        Some(id) => match USERS.iter().find(|user| user.id == id) {
            Some(user) => res.json(user),
            None => res.status(404).json(&serde_json::json!({ "error": "no such user", "id": id })),
        },
        None => res.status(400).json(&serde_json::json!({ "error": "id must be a number" })),
    }
}

fn wants_checksum(req: &Request) -> bool {
    req.query_param("checksum").as_deref() != Some("off")
}

fn stream(req: &Request, res: Response) -> Response {
    let Some(total) = req.param("bytes").and_then(|n| n.parse::<u64>().ok()) else {
        return res.status(400).text("the number of bytes must be a number\n");
    };
    let digest = wants_checksum(req).then(sha256);
    let res = res.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, total);
    match &digest {
        Some(_) => res.header("trailer", "x-checksum"),
        None => res,
    }
    .stream(Payload { offset: 0, total, digest })
}

/// Sends a payload that is a function of the offset.
struct Payload {
    offset: u64,
    total: u64,
    digest: Option<digest::Context>,
}

impl StreamHandler for Payload {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        while self.offset < self.total {
            let from = (self.offset % PERIOD as u64) as usize;
            let len = (CHUNK as u64).min(self.total - self.offset) as usize;
            let chunk = PAYLOAD.slice(from..from + len);
            let taken = s.write_bytes(&mut chunk.clone())?;
            if let Some(digest) = &mut self.digest {
                digest.update(&chunk[..taken]);
            }
            self.offset += taken as u64;
            if taken < len {
                return Ok(Progress::Pending);
            }
        }
        match self.digest.take() {
            Some(digest) => s.finish_with_trailers(&field("x-checksum", &hex(digest))?)?,
            None => s.finish()?,
        }
        Ok(Progress::Done)
    }
}

fn field(name: &'static str, value: &str) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    map.insert(name, HeaderValue::from_str(value).map_err(Error::handler)?);
    Ok(map)
}

/// Counts a body and hashes it.
struct Upload {
    bytes: u64,
    digest: Option<digest::Context>,
    buffer: Vec<u8>,
    answer: Option<Bytes>,
}

impl Upload {
    fn new(checksum: bool) -> Self {
        Upload { bytes: 0, digest: checksum.then(sha256), buffer: vec![0; CHUNK], answer: None }
    }

    fn make_answer(&mut self) -> Bytes {
        let mut json = serde_json::json!({ "bytes": self.bytes });
        if let Some(digest) = self.digest.take() {
            json["sha256"] = hex(digest).into();
        }
        format!("{json}\n").into()
    }
}

impl StreamHandler for Upload {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        while self.answer.is_none() {
            match s.read(&mut self.buffer)? {
                Recv::Data(n) => {
                    self.bytes += n as u64;
                    if let Some(digest) = &mut self.digest {
                        digest.update(&self.buffer[..n]);
                    }
                }
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    let answer = self.make_answer();
                    if let Some(head) = s.head_mut() {
                        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                        head.headers.insert(CONTENT_LENGTH, decimal(answer.len() as u64));
                    }
                    self.answer = Some(answer);
                }
            }
        }
        match s.finish_with(self.answer.get_or_insert_default())? {
            true => Ok(Progress::Done),
            false => Ok(Progress::Pending),
        }
    }
}

/// Reports the request's trailers, and sends some.
#[derive(Default)]
struct Trailers {
    answer: Option<Bytes>,
}

impl StreamHandler for Trailers {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let mut sink = [0; 4096];
        while self.answer.is_none() {
            match s.read(&mut sink)? {
                Recv::Data(_) => {}
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => {
                    let shown = |(name, value): (&http::HeaderName, &HeaderValue)| {
                        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
                    };
                    let trailers: String = s.trailers().into_iter().flatten().map(shown).collect();
                    self.answer = Some(format!("request trailers:\n{trailers}").into());
                }
            }
        }
        let answer = self.answer.get_or_insert_default();
        s.write_bytes(answer)?;
        if !answer.is_empty() {
            return Ok(Progress::Pending);
        }
        s.finish_with_trailers(&field("x-demo", "trailers")?)?;
        Ok(Progress::Done)
    }
}

fn slow(req: &Request, res: Response) -> Response {
    let delay = req.query_param("delay").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let Some(delay) = delay.filter(|delay| *delay <= MAX_DELAY) else {
        return res.status(400).text("give ?delay=MS, at most 60000\n");
    };
    let mut due: Option<Instant> = None;
    let mut body = Bytes::from(format!("waited {} ms\n", delay.as_millis()));
    res.stream(move |s: &mut Stream<'_>| {
        let at = *due.get_or_insert(s.now() + delay);
        if s.now() < at {
            s.wake_at(at);
            return Ok(Progress::Pending);
        }
        Ok(match s.finish_with(&mut body)? {
            true => Progress::Done,
            false => Progress::Pending,
        })
    })
}
