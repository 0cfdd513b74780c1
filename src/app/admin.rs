//! The admin port: the demo page, metrics and health. Its thread asks the event loop, which stays the only one to touch
//! the engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::x509::X509;
use bytes::Bytes;
use data_encoding::BASE64;
use http::StatusCode;
use ring::digest::{SHA256, digest};

use crate::config::Certificate;
use crate::error::{ConfigError, Result};
use crate::net::{Http1Answer, Http1Port, Http1Request, Http1Response, Waker};
use crate::observe::prometheus::{self, Snapshot};

/// The demo page: one self-contained file.
const PAGE: &str = include_str!("demo_page.html");
/// Time limit for a snapshot from the event loop.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(2);

/// A request for a snapshot: the channel for the answer.
type Ask = SyncSender<Snapshot>;

/// The event loops that the port asks, by the number of the worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops(Arc<Mutex<Vec<Asked>>>);

#[derive(Clone, Debug)]
struct Asked {
    ask: SyncSender<Ask>,
    waker: Waker,
}

/// What the port asks one event loop.
#[derive(Debug)]
pub(super) struct Questions(Receiver<Ask>);

impl Loops {
    fn all(&self) -> MutexGuard<'_, Vec<Asked>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the loop of the next worker, or replaces that of worker `index`.
    pub(super) fn set(&self, index: usize, waker: Waker) -> Questions {
        let (ask, questions) = sync_channel(1);
        let (all, asked) = (&mut *self.all(), Asked { ask, waker });
        match all.get_mut(index) {
            Some(before) => *before = asked,
            None => all.push(asked),
        }
        Questions(questions)
    }
}

impl Questions {
    /// Answers the port's thread. Call it when the loop was woken.
    pub(super) fn answer(&self, snapshot: impl Fn() -> Snapshot) {
        for ask in self.0.try_iter() {
            // It may have timed out.
            let _ = ask.try_send(snapshot());
        }
    }
}

/// An open admin port.
#[derive(Debug)]
pub(super) struct Admin {
    port: Http1Port,
    page: Page,
}

/// Updates the port's page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    demos: Sender<Bytes>,
    server: SocketAddr,
    certificate: Certificate,
}

impl Page {
    /// Updates the page for a new certificate.
    ///
    /// # Errors
    /// A certificate that cannot be read.
    pub(super) fn reload(&self) -> Result<()> {
        let demo = demo(self.server, &self.certificate)?;
        // Fails when the port's thread has ended.
        let _ = self.demos.send(demo);
        Ok(())
    }
}

impl Admin {
    /// Opens the port of a server at `server`. Its page tells of the server's first certificate. `sockets` are the
    /// origins whose pages may open the demo's WebSockets besides its own, if it has any.
    ///
    /// # Errors
    /// An address that cannot be bound, or a certificate that cannot be read.
    pub(super) fn open(
        addr: SocketAddr,
        certificate: Certificate,
        server: SocketAddr,
        loops: Loops,
        sockets: Option<Vec<String>>,
    ) -> Result<Self> {
        let demo = demo(server, &certificate)?;
        let (demos, new_demos) = channel();
        let mut pages = Pages { loops, policy: policy(), demo, new_demos, sockets };
        let port = Http1Port::open("admin", addr, None, move |request| pages.answer(request))?;
        if !port.local_addr().ip().is_loopback() {
            log::warn!("the admin port is unauthenticated and not bound to a loopback address");
        }
        Ok(Admin { port, page: Page { demos, server, certificate } })
    }

    pub(super) fn page(&self) -> Page {
        self.page.clone()
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.port.local_addr()
    }
}

/// The origins that the page of an admin port on `addr` has in a browser, to allow for WebTransport. A loopback or
/// unspecified address includes the loopback names.
pub fn admin_origins(addr: SocketAddr) -> Vec<String> {
    let ip = addr.ip().to_canonical();
    let mut hosts = Vec::new();
    if !ip.is_unspecified() {
        hosts.push(host(ip));
    }
    if ip.is_loopback() || ip.is_unspecified() {
        hosts.extend(["localhost".to_owned(), host(Ipv4Addr::LOCALHOST.into()), host(Ipv6Addr::LOCALHOST.into())]);
    }
    let mut origins: Vec<String> = Vec::new();
    for host in hosts {
        // RFC 6454 section 6.2: the scheme's default port is omitted.
        let origin = match addr.port() {
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        };
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    origins
}

/// An address in the form used in URLs.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Data for the page. If the server listens on every address, the page may put its own host into the URL.
fn demo(server: SocketAddr, certificate: &Certificate) -> Result<Bytes> {
    let hash = accepted_hash(&certificate.leaf()?).map_err(ConfigError::refused("the certificate"))?;
    let any = server.ip().is_unspecified();
    let host = match server.ip() {
        // A name, which may lead to ::1, would miss a server on IPv4 alone.
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => "localhost".to_owned(),
        ip => host(ip.to_canonical()),
    };
    let value = serde_json::json!({
        "url": format!("https://{host}:{}", server.port()),
        "port": server.port(),
        "any_host": any,
        "certificate_sha256": hash,
        "version": env!("CARGO_PKG_VERSION"),
        "quiche_version": env!("MIO_QUICHE_QUICHE_VERSION"),
    });
    Ok(format!("{value}\n").into())
}

/// The hash by which browsers accept the certificate, or an empty string if they do not: it has to be valid for 14 days at
/// most (W3C WebTransport, "custom certificate requirements"). Others they verify as usual, if the page gives no hash.
fn accepted_hash(leaf: &X509) -> std::result::Result<String, ErrorStack> {
    let lifetime = leaf.not_before().diff(leaf.not_after())?;
    if (lifetime.days, lifetime.secs) > (14, 0) {
        return Ok(String::new());
    }
    Ok(BASE64.encode(&leaf.digest(MessageDigest::sha256())?))
}

/// The page's Content-Security-Policy: its own script and style by their hashes, connections out, and nothing else.
fn policy() -> String {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let content = PAGE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).unwrap_or_default().0;
        BASE64.encode(digest(&SHA256, content.as_bytes()).as_ref())
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self' https: ws: wss:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    )
}

/// The port's thread.
struct Pages {
    loops: Loops,
    policy: String,
    demo: Bytes,
    /// The replacement of the placeholder.
    new_demos: Receiver<Bytes>,
    sockets: Option<Vec<String>>,
}

impl Pages {
    fn answer(&mut self, request: &Http1Request<'_>) -> Http1Answer {
        #[cfg(feature = "demo")]
        if let Some(allowed) = &self.sockets
            && let Some(answer) = super::demo_socket::answer(request, allowed, &admin_origins(request.local_addr))
        {
            return answer;
        }
        Http1Answer::Response(self.respond(request.method, request.path))
    }

    fn respond(&mut self, method: &str, path: &str) -> Http1Response {
        if !["/", "/metrics", "/metrics/workers", "/healthz", "/demo.json"].contains(&path) {
            return Http1Response::text(
                StatusCode::NOT_FOUND,
                "not found: try /, /metrics, /metrics/workers, /healthz or /demo.json\n",
            );
        }
        if !["GET", "HEAD"].contains(&method) {
            let mut answer = Http1Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.fields.push(("allow", "GET, HEAD".to_owned()));
            return answer;
        }
        let ok = |content_type, body| Http1Response { content_type, ..Http1Response::text(StatusCode::OK, body) };
        match path {
            "/" => {
                let mut page = ok("text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes()));
                page.fields.push(("content-security-policy", self.policy.clone()));
                // Isolated from other pages, so that the browser gives it a clock with enough digits for round trips.
                page.fields.push(("cross-origin-opener-policy", "same-origin".to_owned()));
                page.fields.push(("cross-origin-embedder-policy", "require-corp".to_owned()));
                page.fields.push(("referrer-policy", "no-referrer".to_owned()));
                page
            }
            "/demo.json" => {
                if let Some(demo) = self.new_demos.try_iter().last() {
                    self.demo = demo;
                }
                ok("application/json", self.demo.clone())
            }
            _ => match self.snapshots() {
                None => Http1Response::text(StatusCode::SERVICE_UNAVAILABLE, "the event loop does not answer\n"),
                Some(all) if path == "/metrics" => {
                    ok(prometheus::CONTENT_TYPE, prometheus::encode(Snapshot::sum(all)).into())
                }
                Some(all) if path == "/metrics/workers" => {
                    ok(prometheus::CONTENT_TYPE, prometheus::encode_workers(all).into())
                }
                Some(all) if all.iter().any(|snapshot| snapshot.shutting_down) => {
                    Http1Response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
                }
                Some(_) => Http1Response::text(StatusCode::OK, "ok\n"),
            },
        }
    }

    /// Asks the event loops. `None` if one takes too long or has ended.
    fn snapshots(&self) -> Option<Vec<Snapshot>> {
        let loops = self.loops.all().clone();
        let mut answers = Vec::new();
        for Asked { ask, waker } in &loops {
            let (reply, answer) = sync_channel(1);
            // Full while an earlier question that timed out still waits for the loop.
            ask.try_send(reply).ok()?;
            waker.wake().ok()?;
            answers.push(answer);
        }
        answers.into_iter().map(|answer| answer.recv_timeout(SNAPSHOT_TIMEOUT).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::cert::{CertInfo, DevCert};

    fn origins(addr: &str) -> Vec<String> {
        admin_origins(addr.parse().unwrap())
    }

    #[test]
    fn origins_are_those_of_a_browser() {
        let loopback = ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"];
        assert_eq!(origins("127.0.0.1:8080"), loopback);
        assert_eq!(origins("[::1]:81"), ["http://[::1]:81", "http://localhost:81", "http://127.0.0.1:81"]);
        assert_eq!(origins("127.0.0.1:80"), ["http://127.0.0.1", "http://localhost", "http://[::1]"]);
        assert_eq!(origins("192.0.2.1:8080"), ["http://192.0.2.1:8080"]);
        assert_eq!(origins("[::ffff:192.0.2.1]:8080"), ["http://192.0.2.1:8080"]);
        let any = ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"];
        assert_eq!(origins("0.0.0.0:8080"), any);
        assert_eq!(origins("[::]:8080"), any);
    }

    #[test]
    fn the_page_is_told_where_the_server_is() {
        let made = DevCert::generate(&[]).unwrap();
        let cert = made.certificate();
        let told = |addr: &str| -> serde_json::Value {
            serde_json::from_slice(&demo(addr.parse().unwrap(), &cert).unwrap()).unwrap()
        };
        let url = |addr: &str| told(addr)["url"].as_str().unwrap().to_owned();
        assert_eq!(url("127.0.0.1:4433"), "https://127.0.0.1:4433");
        assert_eq!(url("[::1]:4433"), "https://[::1]:4433");
        assert_eq!(url("0.0.0.0:4433"), "https://127.0.0.1:4433");
        assert_eq!(url("[::]:4433"), "https://localhost:4433");
        let all = told("[::]:4433");
        assert_eq!((&all["port"], &all["any_host"]), (&4433.into(), &true.into()));
        let dir = tempfile::tempdir().unwrap();
        made.write(dir.path()).unwrap();
        // rcgen's own is valid for centuries.
        let lasting = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let lasting = Certificate::from_pem(lasting.cert.pem(), lasting.signing_key.serialize_pem());
        let told = demo("127.0.0.1:4433".parse().unwrap(), &lasting).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&told).unwrap()["certificate_sha256"], "");
        assert_eq!(all["certificate_sha256"], CertInfo::read(&dir.path().join("cert.pem")).unwrap().sha256_base64());
    }

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1, "{tag}");
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag} with attributes");
        }
        // What the policy forbids: attributes with style or script in them.
        for word in [" style=", " onclick=", " onload=", " src=", "@import", "url(", "href=\"http"] {
            assert!(!PAGE.contains(word), "{word}");
        }
        assert!(policy().contains("script-src 'sha256-") && !policy().contains("unsafe"));
    }

    #[test]
    fn a_loop_that_does_not_answer_is_told() {
        let loops = Loops::default();
        let socket = crate::net::UdpSocket::bind(([127, 0, 0, 1], 0).into(), 65536).unwrap();
        let event_loop = crate::net::EventLoop::new(socket, false).unwrap();
        let (_, new_demos) = channel();
        let questions = loops.set(0, event_loop.waker());
        let mut pages = Pages { loops, policy: String::new(), demo: Bytes::new(), new_demos, sockets: None };
        let mut health = || {
            let answer = pages.respond("GET", "/healthz");
            (answer.status.as_u16(), answer.body)
        };
        let silent = (503, Bytes::from_static(b"the event loop does not answer\n"));
        assert_eq!(health(), silent, "after waiting");
        assert_eq!(health(), silent, "at once, as the question still stands there");
        drop(questions);
        assert_eq!(health(), silent, "at once, as nobody is there");
    }
}
