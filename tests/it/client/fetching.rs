//! Whole responses: redirects, cookies, many at a time, files, and handlers that are borrowed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mio_quiche::{
    Client, ClientError, ClientRequest, Progress, Recv, Request, Response, ResponseHandler, Result, Router, Stream,
};

use super::{client, insecure};
use crate::support::local::Local;
use crate::support::payload;
use crate::support::server::Server;

/// What a request looks like to the server.
fn told(req: &Request, body: &[u8]) -> String {
    let field = |name| req.header(name).unwrap_or("-");
    let fields = (field("authorization"), field("cookie"), field("content-type"));
    format!("{} {} {:?} {}", req.method(), req.path(), fields, String::from_utf8_lossy(body))
}

fn tell(_: &Request, res: Response) -> Response {
    res.body(1 << 20, |req, body, res| {
        let told = told(req, &body);
        res.text(told)
    })
}

fn post(url: &str) -> ClientRequest {
    let value = HeaderValue::from_static;
    let request = ClientRequest::post(url).unwrap().json(&["body"]).unwrap();
    request.header(AUTHORIZATION, value("secret")).header(COOKIE, value("own=1"))
}

/// `/to/STATUS?URL` redirects, `/loop` does for ever; anything else is told.
fn redirecting() -> Router {
    let redirect = |req: &Request, res: Response| {
        let status = req.param("status").unwrap().parse().unwrap();
        let target = req.query().unwrap_or_default().to_owned();
        // With the body unread.
        res.redirect(status, &target)
    };
    Router::new()
        .post("/to/:status", redirect)
        .get("/to/:status", redirect)
        .get("/loop", |_req, res| res.redirect(302, "loop"))
        .get("/choices", |_req, res| res.status(300).header("location", "/told").text("choose\n"))
        .fallback(tell)
}

#[test]
fn redirects_are_followed() {
    let (one, two) = (Local::start(|_| {}, redirecting), Local::start(|_| {}, redirecting));
    let mut client = insecure();
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let (content_type, body) = if method == "POST" { ("application/json", r#"["body"]"#) } else { ("-", "") };
        let response = client.fetch(post(&one.url(&format!("/to/{status}?/told#part")))).unwrap();
        assert_eq!(response.text(), format!("{method} /told (\"secret\", \"own=1\", {content_type:?}) {body}"));
        assert_eq!((response.status, response.url), (StatusCode::OK, one.url("/told#part")));
        let elsewhere = two.url("/told");
        let response = client.fetch(post(&one.url(&format!("/to/{status}?{elsewhere}")))).unwrap();
        assert_eq!(response.text(), format!("{method} /told (\"-\", \"-\", {content_type:?}) {body}"));
        assert_eq!(response.url, elsewhere);
    }
    let large = "x".repeat(1_000_000);
    let request = ClientRequest::post(&one.url("/to/308?/told")).unwrap().body(large.clone());
    assert_eq!(client.fetch(request).unwrap().text(), format!("POST /told (\"-\", \"-\", \"-\") {large}"));
    let chain = format!("/to/302?/to/307?{}", two.url("/told"));
    assert_eq!(client.get(&one.url(&chain)).unwrap().url, two.url("/told"));
    assert_eq!(client.get(&one.url("/choices")).unwrap().status, 300, "no redirect");
    for server in [one, two] {
        server.stop();
    }
}

#[test]
fn redirects_that_are_not_followed() {
    let server = Local::start(|_| {}, redirecting);
    let mut client = insecure();
    let error = |client: &mut Client, path: &str| client.get(&server.url(path)).unwrap_err().to_string();
    assert_eq!(error(&mut client, "/loop"), "more than 10 redirects");
    assert_eq!(
        error(&mut client, "/to/301?http://127.0.0.1/"),
        "redirected to 'http://127.0.0.1/': HTTP/3 needs https"
    );
    assert_eq!(error(&mut client, "/to/302?/to/302?/to/302?https://"), "redirected to 'https://': empty host");
    let request = || ClientRequest::get(&server.url("/to/302?/to/302?/told")).unwrap();
    let error = client.fetch(request().max_redirects(1)).unwrap_err();
    assert!(matches!(error, ClientError::TooManyRedirects(1)), "{error}");
    assert_eq!(client.fetch(request().max_redirects(2)).unwrap().status, 200);
    let unfollowed = client.fetch(request().max_redirects(0)).unwrap();
    assert_eq!((unfollowed.status.as_u16(), unfollowed.headers["location"].to_str().unwrap()), (302, "/to/302?/told"));
    let mut other = self::client(|config| {
        config.dangerous().accept_any_certificate();
        config.max_redirects = 0;
    });
    assert_eq!(other.fetch(request()).unwrap().status, 302);
    // One with a handler follows none unless it says so.
    for (max, statuses, urls) in [(None, vec![302], vec![]), (Some(2), vec![200], vec!["/to/302?/told", "/told"])] {
        let mut seen = Seen::default();
        let request = max.map_or_else(request, |max| request().max_redirects(max));
        client.run_one(request, &mut seen).unwrap();
        let urls: Vec<_> = urls.into_iter().map(|path| server.url(path)).collect();
        assert_eq!((seen.statuses, seen.urls), (statuses, urls));
    }
    // A body that a handler cannot write again.
    let request = ClientRequest::post(&server.url("/to/307?/told")).unwrap().streamed_body(None).max_redirects(1);
    let error = client.run_one(request, &mut Seen::default()).unwrap_err();
    assert_eq!(error.to_string(), "redirected to '/told': the body cannot be sent again");
    server.stop();
}

#[derive(Default)]
struct Seen {
    urls: Vec<String>,
    statuses: Vec<u16>,
}

impl ResponseHandler for Seen {
    fn redirected(&mut self, url: &str) {
        self.urls.push(url.to_owned());
    }

    fn response(&mut self, _: &mut Stream<'_>, head: &mio_quiche::ResponseHead) -> Result<()> {
        self.statuses.push(head.status.as_u16());
        Ok(())
    }

    fn poll(&mut self, _: &mut Stream<'_>) -> Result<Progress> {
        Ok(if self.statuses.is_empty() { Progress::Pending } else { Progress::Done })
    }

    fn finished(&mut self, _: std::result::Result<(), ClientError>) {}
}

#[cfg(feature = "cookies")]
#[test]
fn cookies_are_kept_and_sent() {
    let router = || {
        let login = |_: &Request, res: Response| {
            let res =
                res.header("set-cookie", "id=7; Path=/; Secure; HttpOnly").header("set-cookie", "deep=1; Path=/deep");
            res.redirect(303, "/home")
        };
        let forget = |_: &Request, res: Response| res.header("set-cookie", "id=; Path=/; Max-Age=0").text("gone\n");
        Router::new().post("/login", login).get("/forget", forget).fallback(tell)
    };
    let server = Local::start(|_| {}, router);
    let mut client = client(|config| {
        config.dangerous().accept_any_certificate();
        config.cookies = true;
    });
    let cookie_of = |client: &mut Client, path: &str| {
        let told = client.get(&server.url(path)).unwrap().text().into_owned();
        told.split('"').nth(3).unwrap().to_owned()
    };
    let login = ClientRequest::post(&server.url("/login")).unwrap().body("user");
    assert_eq!(client.fetch(login.clone()).unwrap().text(), r#"GET /home ("-", "id=7", "-") "#, "with the redirect");
    assert_eq!(cookie_of(&mut client, "/deep/x"), "deep=1; id=7");
    assert_eq!(client.cookies(&server.url("/")).unwrap().as_deref(), Some("id=7"));
    assert_eq!(client.cookies("https://127.0.0.2/").unwrap(), None);
    client.set_cookie(&server.url("/"), "set=here").unwrap();
    assert_eq!(cookie_of(&mut client, "/"), "id=7; set=here");
    let own = ClientRequest::get(&server.url("/")).unwrap().header(COOKIE, HeaderValue::from_static("own=1"));
    assert_eq!(client.fetch(own).unwrap().text(), r#"GET / ("-", "own=1", "-") "#);
    let error = client.set_cookie(&server.url("/"), "x=1; Domain=example.com").unwrap_err();
    assert_eq!(error.to_string(), "the cookie is ignored: it is for another domain");
    client.get(&server.url("/forget")).unwrap();
    assert_eq!(cookie_of(&mut client, "/"), "set=here");
    let mut without = insecure();
    assert_eq!(without.fetch(login).unwrap().text(), r#"GET /home ("-", "-", "-") "#);
    assert!(without.set_cookie(&server.url("/"), "x=1").is_err());
    server.stop();
}

#[test]
fn many_are_fetched_in_order_with_a_limit() {
    const LIMIT: u64 = 7;
    let (running, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, highest) = (Arc::clone(&running), Arc::clone(&most));
    let router = move || {
        Router::new().get("/:n", move |req, res| {
            let n: u64 = req.param("n").unwrap().parse().unwrap();
            if n % 10 == 3 {
                return res.status(503).text("busy\n");
            }
            let now = counted.fetch_add(1, Ordering::AcqRel) + 1;
            highest.fetch_max(now, Ordering::AcqRel);
            let counted = Arc::clone(&counted);
            // The later ones are faster.
            res.later(move |reply| {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20 - n % 20));
                    counted.fetch_sub(1, Ordering::AcqRel);
                    reply.send(move |res| res.text(n.to_string()));
                });
            })
        })
    };
    let server = Local::start(|_| {}, router);
    let mut client = insecure();
    let taken = AtomicU64::new(0);
    let urls = (0..100).map(|n| if n == 50 { "https://127.0.0.1:1/".to_owned() } else { server.url(&format!("/{n}")) });
    let requests = urls.inspect(|_| {
        let _ = taken.fetch_add(1, Ordering::Relaxed);
    });
    let requests = requests.map(|url| ClientRequest::get(&url).unwrap());
    let mut results = client.fetch_all(requests, LIMIT as usize);
    for n in 0..100 {
        let result = results.next().unwrap();
        // Bounded memory: no more are started than `LIMIT` beyond what was taken.
        assert!(taken.load(Ordering::Relaxed) <= n + LIMIT, "{n}");
        match result {
            Ok(response) if n % 10 == 3 => {
                assert_eq!((response.status.as_u16(), &response.body[..]), (503, &b"busy\n"[..]))
            }
            Ok(response) => assert_eq!(response.text(), n.to_string()),
            Err(error) => assert!(n == 50 && error.is_refusal() || error.is_timeout(), "{n}: {error}"),
        }
    }
    assert!(results.next().is_none());
    drop(results);
    assert_eq!(most.load(Ordering::Acquire), LIMIT);
    // One that is dropped cancels its requests, and the client goes on.
    let requests = (0..20).map(|_| ClientRequest::get(&server.url("/1")).unwrap());
    let mut some = client.fetch_all(requests, 5);
    some.next().unwrap().unwrap();
    drop(some);
    assert!(!client.is_busy());
    assert_eq!(client.fetch_all([], 5).count(), 0);
    let one = client.fetch_all([ClientRequest::get(&server.url("/2")).unwrap()], 0);
    assert_eq!(one.map(|response| response.unwrap().text().into_owned()).collect::<Vec<_>>(), ["2"]);
    server.stop();
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_response_is_saved_as_it_arrives() {
    const SIZE: usize = 100_000_000;
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let get = |path: &str| ClientRequest::get(&server.url(path)).unwrap();
    let error = client.fetch(get(&format!("/stream/{SIZE}"))).unwrap_err();
    assert!(matches!(error, ClientError::TooLarge(67_108_864)), "{error}");
    // Larger than what is kept in memory.
    let response = client.fetch(get(&format!("/stream/{SIZE}")).save_to(&path)).unwrap();
    assert_eq!((response.status.as_u16(), response.body.len()), (200, 0));
    assert!(response.trailers.contains_key("x-checksum"));
    assert!(fs::read(&path).unwrap() == payload(SIZE));
    assert_eq!(names(dir.path()), ["large"]);
    // An error page is not what was to be saved.
    let missing = client.fetch(get("/nowhere").save_to(dir.path().join("missing"))).unwrap();
    assert_eq!((missing.status.as_u16(), missing.text().as_ref()), (404, "404 Not Found\n"));
    assert!(matches!(missing.error_for_status(), Err(ClientError::Status(StatusCode::NOT_FOUND))));
    let error = client.fetch(get("/").save_to("/nowhere/file")).unwrap_err();
    assert!(error.to_string().starts_with("cannot write '/nowhere/file': "), "{error}");
    // What is in memory can be saved, too.
    client.get(&server.url("/")).unwrap().save_to(dir.path().join("small")).unwrap();
    assert_eq!(fs::read(dir.path().join("small")).unwrap(), b"Hello, HTTP/3!\n");
    client.close();
    server.stop();
}

#[test]
fn a_file_that_is_cut_off_never_appears() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "before").unwrap();
    let endless = ClientRequest::get(&server.url("/stream/1000000000000")).unwrap().timeout(Duration::from_millis(200));
    let error = client.fetch(endless.save_to(&path)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"before".to_vec(), vec!["file".to_owned()]));
    client.close();
    server.stop();
}

/// Counts into what it borrows.
struct Count<'a> {
    bytes: &'a mut u64,
    head: &'a mut Option<u16>,
    fails: bool,
}

impl ResponseHandler for Count<'_> {
    fn response(&mut self, _: &mut Stream<'_>, head: &mio_quiche::ResponseHead) -> Result<()> {
        *self.head = Some(head.status.as_u16());
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        loop {
            match s.read_chunk(64 * 1024)? {
                Recv::Data(_) if self.fails => return Err(mio_quiche::Error::handler("enough")),
                Recv::Data(chunk) => *self.bytes += chunk.len() as u64,
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        assert_eq!(result.is_err(), self.fails);
    }
}

#[test]
fn a_handler_is_borrowed_for_one_request() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let (mut bytes, mut head) = (0, None);
    let request = || ClientRequest::get(&server.url("/stream/3000000")).unwrap();
    // Another one runs beside it.
    let (done, other) = mpsc::channel();
    let counted = super::Download { digest: Some(super::sha256()), bytes: 0, progress: |_| (), done };
    client.start(request(), counted);
    for n in 1..=3 {
        client.run_one(request(), &mut Count { bytes: &mut bytes, head: &mut head, fails: false }).unwrap();
        assert_eq!((bytes, head.take()), (n * 3_000_000, Some(200)));
    }
    client.run().unwrap();
    assert_eq!(other.recv().unwrap().unwrap().0, 3_000_000);
    let error = client.run_one(request(), &mut Count { bytes: &mut bytes, head: &mut head, fails: true }).unwrap_err();
    assert_eq!(error.to_string(), "enough");
    let late = ClientRequest::get(&server.url("/slow?delay=20000")).unwrap().timeout(Duration::from_millis(100));
    let error = client.run_one(late, &mut Count { bytes: &mut bytes, head: &mut head, fails: true }).unwrap_err();
    assert_eq!(error.to_string(), "the request took longer than 0.1 s");
    assert_eq!(client.get(&server.url("/")).unwrap().status, 200);
    client.close();
    server.stop();
}

/// Panics with its first bytes.
struct Panics;

impl ResponseHandler for Panics {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        match s.read_chunk(1)? {
            Recv::Data(_) => panic!("as it should"),
            _ => Ok(Progress::Pending),
        }
    }

    fn finished(&mut self, _: std::result::Result<(), ClientError>) {
        unreachable!("it is gone");
    }
}

#[test]
fn a_borrowed_handler_that_panics_leaves_a_client_that_works() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let request = || ClientRequest::get(&server.url("/stream/3000000")).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.run_one(request(), &mut Panics)));
    assert!(panicked.is_err());
    let (mut bytes, mut head) = (0, None);
    client.run_one(request(), &mut Count { bytes: &mut bytes, head: &mut head, fails: false }).unwrap();
    assert_eq!((bytes, client.is_busy()), (3_000_000, false));
    client.close();
    server.stop();
}

#[test]
fn json_both_ways() {
    let server = Local::start(
        |_| {},
        || {
            Router::new().post("/sum", |_req, res| {
                res.body_json(1000, |_req, all: Vec<i64>, res| res.json(&all.iter().sum::<i64>()))
            })
        },
    );
    let mut client = insecure();
    let request = ClientRequest::post(&server.url("/sum")).unwrap().json(&[1, 2, 39]).unwrap();
    let response = client.fetch(request).unwrap().error_for_status().unwrap();
    assert_eq!(response.json::<i64>().unwrap(), 42);
    assert_eq!(response.bytes(), response.body);
    let error = response.json::<String>().unwrap_err().to_string();
    assert!(error.starts_with("the body is not the expected JSON: invalid type: integer `42`"), "{error}");
    let name = HeaderName::from_static("x-id");
    let other =
        ClientRequest::new(Method::POST, &server.url("/sum")).unwrap().header(name, HeaderValue::from_static("1"));
    let refused = client.fetch(other.body("[]")).unwrap().error_for_status().unwrap_err();
    assert_eq!(refused.to_string(), "the server answered with status 415 Unsupported Media Type");
    server.stop();
}
