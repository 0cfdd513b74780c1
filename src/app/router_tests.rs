use super::*;
use crate::app::layer::Next;
use crate::app::session::SessionDecision;
use crate::error::{HttpError, RouteError};
use crate::h3::Request;

fn request(method: &str, path: &str) -> Request {
    Request::for_test(method, path)
}

/// The status, the body and `allow` of the router's response.
fn call(router: &mut Router, method: &str, path: &str) -> (u16, String, Option<String>) {
    let mut request = request(method, path);
    let mut response = router.call(&mut request);
    response.complete(&request);
    let allow = response.head.headers.get("allow").map(|v| v.to_str().unwrap().to_owned());
    (response.head.status.as_u16(), response.body_text(), allow)
}

fn body(router: &mut Router, path: &str) -> String {
    let (status, body, _) = call(router, "GET", path);
    assert_eq!(status, 200, "{path}");
    body
}

fn sample() -> Router {
    let param =
        |name: &'static str| move |req: &Request, res: Response| res.text(req.param(name).unwrap().into_owned());
    Router::new()
        .get("/", |_req, res| res.text("root"))
        .get("/users/me", |req, res| res.text(req.pattern().unwrap().to_owned()))
        .get("/users/:id", param("id"))
        .delete("/users/:name", param("name"))
        .get("/users/:id/posts/:post", |req, res| {
            res.text(format!("{} {}", req.param("id").unwrap(), req.param("post").unwrap()))
        })
        .get("/files/*", param("*"))
        .get("/tree/*path", param("path"))
        .get("/{braces}", |_req, res| res.text("braces"))
        .route(http::Method::from_bytes(b"PROPFIND").unwrap(), "/dav", |_req, res| res.status(207))
}

#[test]
fn literals_beat_parameters_beat_the_rest() {
    let router = &mut sample();
    assert!(router.check().is_ok());
    assert_eq!(body(router, "/"), "root");
    assert_eq!(body(router, "/users/me"), "/users/me");
    assert_eq!(body(router, "/users/7?x=1"), "7");
    assert_eq!(body(router, "/users/7/posts/8"), "7 8");
    assert_eq!(body(router, "/files/a/b.txt"), "a/b.txt");
    assert_eq!(body(router, "/tree/x"), "x");
    assert_eq!(body(router, "/{braces}"), "braces");
    assert_eq!(call(router, "DELETE", "/users/7").1, "7", "each route has its own names");
}

#[test]
fn parameters_are_decoded_after_matching() {
    let router = &mut sample();
    assert_eq!(body(router, "/users/a%2Fb%20c"), "a/b c");
    assert_eq!(body(router, "/users/%C3%A9"), "\u{e9}");
    assert_eq!(body(router, "/files/a%2Fb/c%3F"), "a/b/c?");
}

#[test]
fn equivalent_paths_have_one_route() {
    // M6
    let router = &mut sample().get("/caf\u{e9}/~ada", |_req, res| res.text("ada"));
    for (path, text) in [
        ("/u%73ers/me", "/users/me"),
        ("/%75%73%65%72%73/%6D%65", "/users/me"),
        ("/%7Bbraces%7D", "braces"),
        ("/%7bbraces%7d", "braces"),
        ("/caf%c3%a9/%7eada", "ada"),
        ("/caf\u{e9}/~ada", "ada"),
        ("/u%73ers/a%2fb%20c?x=/../", "a/b c"),
        ("/users/a:b%3Ac", "a:b:c"),
        ("/files/x/../y", "y"),
        ("/files/x/./%2e/y/", "x/y/"),
        ("/files/x/..%2Fy", "x/../y"),
        ("/files/../users/./me", "/users/me"),
        ("/users/..", "root"),
        ("/../../users/%", "%"),
        ("/users/%%34%31", "%41"),
    ] {
        assert_eq!(body(router, path), text, "{path}");
    }
    for path in ["/users%2Fme", "//users/me", "/users/me/", "/Users/me", "/%2561pi", "/files/../../x"] {
        assert_eq!(call(router, "GET", path).0, 404, "{path}");
    }
    let wrong = |pattern| Router::new().get(pattern, |_req, res| res).check().unwrap_err().to_string();
    let reason = "no path that is compared has a '.' or '..' segment";
    assert_eq!(wrong("/a/../b"), format!("route pattern \"/a/../b\" is invalid: {reason}"));
    let mut router = Router::new().webtransport("/wt/echo", |request| request.reject(418));
    for (path, status) in [("/wt/e%63ho", 418), ("/x/../wt/echo", 418), ("/wt%2Fecho", 404)] {
        let SessionDecision::Reject(response) = router.open_session(&mut request("CONNECT", path)).0 else {
            panic!("{path}")
        };
        assert_eq!(response.head.status.as_u16(), status, "{path}");
    }
    let twice = Router::new().get("/a~", |_req, res| res).get("/%61%7E", |_req, res| res);
    assert_eq!(twice.check().unwrap_err().to_string(), "route GET /%61%7E conflicts with GET /a~");
}

#[test]
fn what_no_route_takes_gets_its_status() {
    let router = &mut sample();
    assert_eq!(call(router, "GET", "/nope"), (404, "404 Not Found\n".into(), None));
    assert_eq!(call(router, "GET", "/users/"), (404, "404 Not Found\n".into(), None));
    let allow = Some("DELETE, GET, HEAD, OPTIONS".to_owned());
    assert_eq!(call(router, "PUT", "/users/7"), (405, "405 Method Not Allowed\n".into(), allow.clone()));
    assert_eq!(call(router, "OPTIONS", "/users/7"), (204, String::new(), allow));
    assert_eq!(call(router, "BREW", "/users/7"), (501, "501 Not Implemented\n".into(), None));
    assert_eq!(call(router, "BREW", "/nope"), (501, "501 Not Implemented\n".into(), None));
    assert_eq!(call(router, "PROPFIND", "/nope").0, 404);
    assert_eq!(call(router, "PROPFIND", "/dav").0, 207);
    assert_eq!(call(router, "OPTIONS", "*").2.as_deref(), Some("DELETE, GET, HEAD, OPTIONS, PROPFIND"));
    assert_eq!(call(router, "HEAD", "/").0, 200);
}

#[test]
fn conflicts_and_wrong_patterns_are_found_at_registration() {
    let add = |pattern: &str| sample().get(pattern, |_req, res| res).check();
    let conflict =
        RouteError::Conflict { method: "GET".into(), pattern: "/users/:x".into(), existing: "/users/:id".into() };
    assert_eq!(add("/users/:x").unwrap_err(), conflict);
    assert_eq!(conflict.to_string(), "route GET /users/:x conflicts with GET /users/:id");
    assert!(matches!(add("/").unwrap_err(), RouteError::Conflict { .. }));
    for wrong in ["", "users", "/a/*/b", "/a/:", "/:a/:a"] {
        assert!(matches!(add(wrong).unwrap_err(), RouteError::Invalid { .. }), "{wrong:?}");
    }
    assert!(add("/users/:x/more").is_ok());
}

#[test]
fn responses_declare_their_length_and_mistakes_are_500() {
    let mut router = Router::new()
        .get("/status", |_req, res| res.status(42))
        .get("/field", |_req, res| res.header("bad name", "x"))
        .get("/value", |_req, res| res.header("x", "a\nb"))
        .get("/empty", |_req, res| res.status(204).text("none of this"))
        .get("/error", |_req, res| res.status(403))
        .get("/redirect", |_req, res| res.redirect(307, "/elsewhere"));
    for path in ["/status", "/field", "/value"] {
        assert_eq!(call(&mut router, "GET", path), (500, "500 Internal Server Error\n".into(), None));
    }
    assert_eq!(call(&mut router, "GET", "/empty"), (204, String::new(), None));
    assert_eq!(call(&mut router, "GET", "/error"), (403, "403 Forbidden\n".into(), None));
    let mut request = request("GET", "/redirect");
    let response = router.call(&mut request);
    assert_eq!(
        (response.head.status.as_u16(), &response.head.headers["location"]),
        (307, &"/elsewhere".parse().unwrap())
    );
}

#[test]
fn an_empty_rest_is_taken_unless_a_route_of_its_own_is_there() {
    let rest = |req: &Request, res: Response| res.text(format!("rest '{}'", req.param("*").unwrap_or_default()));
    let mut router = Router::new()
        .get("/*", rest)
        .get("/files/*", rest)
        .post("/files/*", rest)
        .get("/own/*", rest)
        .get("/own/", |_, res| res.text("own"))
        .get("/first/", |_, res| res.text("first"))
        .get("/first/*", rest)
        .get("/users/:user/*", |req, res| res.text(format!("{:?} {:?}", req.param("user"), req.param("*"))));
    assert_eq!(router.check(), Ok(()));
    for (path, expected) in [
        ("/", "rest ''"),
        ("/files/", "rest ''"),
        ("/files/a", "rest 'a'"),
        ("/files", "rest 'files'"),
        ("/own/", "own"),
        ("/own/b", "rest 'b'"),
        ("/first/", "first"),
        ("/first/c", "rest 'c'"),
        ("/users/me/", "Some(\"me\") Some(\"\")"),
        ("/users/me/x/y", "Some(\"me\") Some(\"x/y\")"),
    ] {
        assert_eq!(body(&mut router, path), expected, "{path}");
    }
    assert_eq!(call(&mut router, "POST", "/files/").1, "rest ''");
    assert_eq!(call(&mut router, "DELETE", "/files/").2.as_deref(), Some("GET, HEAD, OPTIONS, POST"));
}

#[test]
fn routers_are_nested_and_merged() {
    let named = |name: &'static str| {
        move |req: &Request, res: Response| {
            res.text(format!("{name} {} {}", req.pattern().unwrap_or("-"), req.param("id").unwrap_or_default()))
        }
    };
    let users = Router::new().get("/", named("list")).get("/:id", named("user")).patch("/:id", named("patch"));
    let api = Router::new().nest("/users", users).get("/*", named("rest"));
    let mut router = Router::new()
        .get("/", named("root"))
        .nest("/api/:version", api)
        .merge(Router::new().get("/about", named("about")).fallback(named("fallback")));
    assert_eq!(router.check(), Ok(()));
    for (method, path, expected) in [
        ("GET", "/", (200, "root / ", None)),
        ("GET", "/about", (200, "about /about ", None)),
        ("GET", "/api/2/users", (200, "list /api/:version/users ", None)),
        ("GET", "/api/2/users/7", (200, "user /api/:version/users/:id 7", None)),
        ("PATCH", "/api/2/users/7", (200, "patch /api/:version/users/:id 7", None)),
        ("POST", "/api/2/users/7", (405, "405 Method Not Allowed\n", Some("GET, HEAD, OPTIONS, PATCH"))),
        ("GET", "/api/2/", (200, "rest /api/:version/* ", None)),
        ("GET", "/elsewhere", (200, "fallback - ", None)),
        ("DELETE", "/elsewhere", (200, "fallback - ", None)),
    ] {
        let (status, text, allow) = call(&mut router, method, path);
        assert_eq!((status, text.as_str(), allow.as_deref()), expected, "{method} {path}");
    }
}

#[test]
fn nesting_reports_conflicts_and_keeps_the_first_fallback() {
    let one = || Router::new().get("/a", |_, res| res.text("a")).fallback(|_, res| res.text("first"));
    let twice = one().merge(one());
    let conflict =
        RouteError::Conflict { method: "GET".to_owned(), pattern: "/a".to_owned(), existing: "/a".to_owned() };
    assert_eq!(twice.check(), Err(conflict));
    assert!(Router::new().nest("no-slash", one()).check().is_err());
    assert!(Router::new().nest("/x", Router::new().get("wrong", |_, res| res)).check().is_err());
    let mut router = one().nest("/x", Router::new().fallback(|_, res| res.text("second")));
    assert_eq!(body(&mut router, "/x/y"), "first");
}

/// A layer that writes its name around what it is around.
fn around(name: &'static str) -> impl FnMut(&mut Request, Response, Next<'_>) -> Response {
    move |req, res, next| {
        let res = next.run(req, res.header("x-before", name));
        let text = format!("{name}({})", res.body_text());
        res.header("x-after", name).text(text)
    }
}

#[test]
fn layers_are_around_every_response_of_their_router() {
    let inner = Router::new()
        .get("/a", |_, res| res.text("a"))
        .post("/a", |_, res| res.text("posted"))
        .fallback(|_, res| res.text("fallback"))
        .layer(around("inner"));
    let plain = Router::new().get("/b", |_, res| res.text("b")).delete("/in/a", |_, res| res.text("deleted"));
    let mut router = Router::new()
        .layer(around("first"))
        .nest("/in", inner)
        .merge(plain)
        .layer(around("second"))
        .get("/c", |_, r| r);
    assert_eq!(router.check(), Ok(()));
    for (method, path, expected) in [
        ("GET", "/in/a", (200, "first(second(inner(a)))")),
        ("POST", "/in/a", (200, "first(second(inner(posted)))")),
        ("DELETE", "/in/a", (200, "first(second(deleted))")),
        ("PUT", "/in/a", (405, "first(second(inner(405 Method Not Allowed\n)))")),
        ("OPTIONS", "/b", (204, "")),
        ("OPTIONS", "*", (204, "")),
        ("GET", "/b", (200, "first(second(b))")),
        ("GET", "/c", (200, "first(second())")),
        ("GET", "/elsewhere", (200, "first(second(inner(fallback)))")),
    ] {
        let (status, text, _) = call(&mut router, method, path);
        assert_eq!((status, text.as_str()), expected, "{method} {path}");
    }
    let fields = |response: &Response, name: &str| {
        let values = response.head.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (method, path) in [("GET", "/in/a"), ("PUT", "/in/a"), ("GET", "/elsewhere")] {
        let response = router.call(&mut request(method, path));
        assert_eq!(fields(&response, "x-before"), ["first", "second", "inner"], "{method} {path}");
        assert_eq!(fields(&response, "x-after"), ["inner", "second", "first"], "{method} {path}");
    }
    assert_eq!(fields(&router.call(&mut request("OPTIONS", "*")), "x-after"), ["second", "first"]);
    let mut without = Router::new().get("/", |_, res| res).layer(around("layer"));
    assert_eq!(call(&mut without, "GET", "/x"), (404, "layer(404 Not Found\n)".to_owned(), None));
    assert_eq!(call(&mut without, "BREW", "/x").0, 501);
}

#[test]
fn a_layer_answers_itself_or_passes_values_on() {
    let mut router = Router::new()
        .get("/", |req, res| res.text(format!("{} {:?}", req.pattern().unwrap(), req.extensions().get::<u32>())))
        .layer(|req, res, next| match req.query() {
            None => res.status(401),
            Some(_) => {
                req.extensions_mut().insert(7u32);
                next.run(req, res)
            }
        });
    assert_eq!(call(&mut router, "GET", "/"), (401, "401 Unauthorized\n".to_owned(), None));
    assert_eq!(body(&mut router, "/?x"), "/ Some(7)");
}

struct Nothing;
impl crate::SessionHandler for Nothing {}

#[test]
fn layers_see_requests_for_sessions() {
    let mut router = Router::new()
        .webtransport("/wt", |req| req.accept_with("chat", Nothing))
        .webtransport("/never", |req| req.reject(404))
        .layer(|req, res, next| match req.query() {
            None => next.run(req, res).header("x-after", "1"),
            Some("silent") => res,
            Some("later") => {
                let _ = next.run(req, res);
                Response::default().status(503)
            }
            Some(_) => res.status(401).header("www-authenticate", "Bearer"),
        });
    for (path, expected) in [
        ("/wt", (200, vec![("wt-protocol", "\"chat\""), ("x-after", "1")])),
        ("/wt?secret", (401, vec![("www-authenticate", "Bearer")])),
        ("/wt?later", (503, vec![])),
        ("/wt?silent", (500, vec![("content-type", "text/plain;charset=utf-8"), ("content-length", "26")])),
        ("/never", (404, vec![("x-after", "1")])),
    ] {
        let mut request = request("CONNECT", path);
        request.head.headers.insert("wt-available-protocols", "\"chat\"".parse().unwrap());
        let (status, headers) = match router.open_session(&mut request).0 {
            SessionDecision::Accept(_, headers) => (200, headers),
            SessionDecision::Reject(response) => (response.head.status.as_u16(), response.head.headers),
        };
        let fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!((status, fields), expected, "{path}");
    }
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    from: u8,
    #[serde(default)]
    tag: Vec<String>,
    #[serde(default)]
    sizes: Vec<u32>,
}

#[test]
fn parameters_have_types() {
    let mut router = Router::new()
        .get("/users/:id", |req, res| match (req.param_as::<u32>("id"), req.param_as::<u32>("other")) {
            (Ok(id), Err(missing)) => res.text(format!("{id} {missing}")),
            (Err(error), _) => res.bad_request(error),
            _ => res.status(500),
        })
        .get("/list", |req, res| {
            let page: Page = req.query_as()?;
            Ok(res.text(format!("{} {:?} {:?}", page.from, page.tag, page.sizes)))
        });
    for (path, expected) in [
        ("/users/%37", (200, "7 the path has no parameter \"other\"")),
        ("/users/7x", (400, "path parameter \"id\" is \"7x\": invalid digit found in string\n")),
        ("/list", (200, "0 [] []")),
        ("/list?tag=a+b&from=3&tag=%26", (200, "3 [\"a b\", \"&\"] []")),
        ("/list?from=256", (400, "query parameter \"from\" is \"256\": number too large to fit in target type\n")),
        ("/list?tag=1&from=a%0A+b", (400, "query parameter \"from\" is \"a\\n b\": invalid digit found in string\n")),
        ("/list?sizes=1&x=y&sizes=y", (400, "query parameter \"sizes\" is \"y\": invalid digit found in string\n")),
        ("/list?from=1&from=2", (400, "the query is not as expected: \"from\" comes more than once\n")),
    ] {
        let (status, text, _) = call(&mut router, "GET", path);
        assert_eq!((status, text.as_str()), expected, "{path}");
    }
    let (status, text, _) = call(&mut router, "GET", "/users/%ff");
    assert!(status == 400 && text.starts_with("path parameter \"id\" is \"\u{fffd}\": invalid utf-8"), "{text}");
}

fn double(req: &Request, res: Response) -> Result<Response, HttpError> {
    let n: u32 = req.param_as("n")?;
    Ok(res.json(&n.checked_mul(2).ok_or(422)?))
}

#[test]
fn the_error_of_a_handler_is_its_response() {
    let denied = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let mut router = Router::new()
        .get("/double/:n", double)
        // The type of the error is known.
        .get("/half/:n", |req, res| {
            let n: u32 = req.param_as("n")?;
            if n % 2 == 1 {
                Err(HttpError::new(409, "an odd number"))?;
            }
            Ok(res.json(&(n / 2)))
        })
        .get("/secret", move |_, res| {
            Err(denied())?;
            Ok(res)
        })
        .get("/typo", |req, res| Ok(res.json(&req.param_as::<u32>("n")?)))
        .fallback(|_, _| Err(HttpError::from(410)))
        .layer(|req, res, next| {
            let res = res.header("vary", "origin").header("etag", "\"1\"").header("content-type", "image/png");
            match req.query() {
                None => Ok(next.run(req, res)),
                Some(_) => Err(HttpError::new(403, "no query, please")),
            }
        });
    for (path, expected) in [
        ("/double/21", (200, "42\n")),
        ("/double/x", (400, "path parameter \"n\" is \"x\": invalid digit found in string\n")),
        ("/double/3000000000", (422, "422 Unprocessable Entity\n")),
        ("/half/42", (200, "21\n")),
        ("/half/1", (409, "an odd number\n")),
        ("/secret", (500, "500 Internal Server Error\n")),
        ("/typo", (500, "500 Internal Server Error\n")),
        ("/elsewhere", (410, "410 Gone\n")),
        ("/half/42?", (403, "no query, please\n")),
    ] {
        let (status, text, _) = call(&mut router, "GET", path);
        assert_eq!((status, text.as_str()), expected, "{path}");
    }
    let response = router.call(&mut request("GET", "/half/1"));
    let fields = |name: &str| {
        let values = response.head.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(fields("vary"), ["origin"], "the layer's field stays");
    assert_eq!(fields("content-type"), ["text/plain;charset=utf-8"]);
    assert!(fields("etag").is_empty(), "it was that of another body");
}

#[test]
fn the_error_of_a_decision_rejects_the_session() {
    let mut router = Router::new()
        .webtransport("/rooms/:n", |req| {
            let _room: u8 = req.param_as("n")?;
            Ok(req.accept(Nothing))
        })
        .layer(|req, res, next| next.run(req, res.header("vary", "origin")));
    let SessionDecision::Accept(..) = router.open_session(&mut request("CONNECT", "/rooms/7")).0 else {
        panic!("a session")
    };
    let SessionDecision::Reject(response) = router.open_session(&mut request("CONNECT", "/rooms/x")).0 else {
        panic!("no session")
    };
    let text = "path parameter \"n\" is \"x\": invalid digit found in string\n";
    assert_eq!((response.head.status.as_u16(), response.body_text().as_str()), (400, text));
    assert_eq!(response.head.headers["vary"], "origin");
}

#[test]
fn a_slash_at_the_end_is_another_path() {
    let notes = || Router::new().get("/", |_, res| res.text("all")).get("/:n", |_, res| res.text("one"));
    let mut router = Router::new().nest("/without", notes()).nest("/with/", notes()).nest("/", notes());
    assert_eq!(router.check(), Ok(()));
    for (path, expected) in [
        ("/without", Some("all")),
        ("/without/", None),
        ("/without/1", Some("one")),
        ("/without/1/", None),
        // It is the `/:n` of the last router.
        ("/with", Some("one")),
        ("/with/", Some("all")),
        ("/with/1", Some("one")),
        ("/with//1", None),
        ("/", Some("all")),
        ("/1", Some("one")),
    ] {
        let (status, text, _) = call(&mut router, "GET", path);
        assert_eq!((status == 200).then_some(text.as_str()), expected, "{path}");
    }
}

#[test]
fn a_preflight_request_needs_no_token() {
    let private =
        Router::new().get("/me", |_, res| res.text("me")).layer(|req, res, next| match req.header("authorization") {
            Some("Bearer secret") => next.run(req, res),
            _ => res.status(401).header("www-authenticate", "Bearer"),
        });
    let mut router = Router::new().nest("/private", private).layer(|req, res, next| {
        let res = res.header("access-control-allow-origin", "*");
        if req.method() == "OPTIONS" && req.header("access-control-request-method").is_some() {
            return res.status(204).header("access-control-allow-methods", "GET, POST");
        }
        next.run(req, res)
    });
    for (method, token, status) in
        [("OPTIONS", None, 204), ("GET", None, 401), ("GET", Some("Bearer secret"), 200), ("PUT", None, 401)]
    {
        let mut request = request(method, "/private/me");
        request.head.headers.insert("access-control-request-method", "GET".parse().unwrap());
        if let Some(token) = token {
            request.head.headers.insert("authorization", token.parse().unwrap());
        }
        let response = router.call(&mut request);
        assert_eq!(response.head.status.as_u16(), status, "{method}");
        assert_eq!(response.head.headers["access-control-allow-origin"], "*", "{method}");
    }
}
