//! Routes: from method and path to a handler.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};

use super::datagrams::DatagramHandler;
use super::handler_result::HandlerResult;
use super::http_error::answer;
use super::layer::{Layer, Next};
use super::response::Response;
use super::session::{SessionDecision, SessionRequest, SessionResponse};
use crate::error::{HttpError, RouteError};
use crate::h3::{Request, is_known_method, normalize, normalize_segments};

type HttpHandler = Box<dyn FnMut(&Request, Response) -> Response>;
type OpenSession = Box<dyn FnMut(SessionRequest<'_>) -> Result<SessionResponse, HttpError>>;

/// The handler of a route.
enum Handler {
    Http(HttpHandler),
    /// An extended CONNECT for a WebTransport session.
    Session(OpenSession),
}

/// What takes a request.
enum Found<'a> {
    Route(&'a mut Route),
    /// No route has its path.
    NoPath(Box<Response>),
    /// This route and others have its path, with other methods.
    NoMethod(&'a Route, Box<Response>),
    /// The server as a whole answers it.
    Server(Box<Response>),
}

struct Route {
    method: Method,
    pattern: Arc<str>,
    params: Vec<Arc<str>>,
    handler: Handler,
    /// Of the routers that were nested and merged, outermost first.
    layers: Vec<Layer>,
}

struct Fallback {
    handler: HttpHandler,
    layers: Vec<Layer>,
}

/// The routes of a server.
///
/// A pattern is a path whose segments may be parameters: `/api/users/:id` takes one segment, `/files/*` the rest of
/// the path, slashes included, which may be empty (`*name` names it; otherwise it is called `*`). A literal segment
/// beats a parameter, a parameter beats `*`.
///
/// Equivalent paths match alike (RFC 3986 section 6.2.2): `/%61pi` and `/x/../api` are `/api`. Parameters are
/// percent-decoded after matching, so that `%2F` stays inside a segment.
///
/// A handler that panics costs its request, which is answered with 500, or reset if its head was sent; the loop goes
/// on. The panic is logged with the route and counted (`mio_quiche_handler_panics_total`). What the handler shares
/// with others may be half changed.
///
/// A handler returns the response, or an [`HttpError`] that becomes one ([`HandlerResult`]), so that `?` ends it.
///
/// HEAD is answered by the route of GET, OPTIONS by an `allow` field, a known method without a route by 405, and an
/// unknown method by 501.
///
/// ```
/// use mio_quiche::Router;
///
/// let router = Router::new()
///     .get("/", |_req, res| res.text("Hello, HTTP/3!\n"))
///     .get("/api/users/:id", |req, res| {
///         let id: u64 = req.param_as("id")?;
///         Ok(res.json(&id))
///     });
/// assert!(router.check().is_ok());
/// ```
#[derive(Default)]
pub struct Router {
    paths: matchit::Router<usize>,
    /// The routes of each path shape.
    routes: Vec<Vec<Route>>,
    /// Shapes in `paths` that stand for a `*` of nothing: a route of their own takes their place.
    empty_rests: HashSet<String>,
    fallback: Option<Fallback>,
    layers: Vec<Layer>,
    pub(super) datagrams: Option<Box<dyn DatagramHandler>>,
    /// The routes are the demo's, and its page may fall back to a WebSocket.
    pub(super) is_demo: bool,
    error: Option<RouteError>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let routes = self.routes.iter().flatten();
        f.debug_list().entries(routes.map(|r| format!("{} {}", r.method, r.pattern))).finish()
    }
}

impl Router {
    /// A router without routes: every response is 404.
    pub fn new() -> Self {
        Self::default()
    }

    /// A route for GET and HEAD.
    #[must_use]
    pub fn get<R: HandlerResult<Response>>(
        self,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.route(Method::GET, pattern, handler)
    }

    /// A route for POST.
    #[must_use]
    pub fn post<R: HandlerResult<Response>>(
        self,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.route(Method::POST, pattern, handler)
    }

    /// A route for PUT.
    #[must_use]
    pub fn put<R: HandlerResult<Response>>(
        self,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.route(Method::PUT, pattern, handler)
    }

    /// A route for DELETE.
    #[must_use]
    pub fn delete<R: HandlerResult<Response>>(
        self,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.route(Method::DELETE, pattern, handler)
    }

    /// A route for PATCH.
    #[must_use]
    pub fn patch<R: HandlerResult<Response>>(
        self,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.route(Method::PATCH, pattern, handler)
    }

    /// Adds all routes of another router. A conflict is reported by [`check`](Router::check).
    ///
    /// Its fallback and its handler of QUIC datagrams are taken if this router has none.
    #[must_use]
    pub fn merge(self, other: Router) -> Self {
        self.nest("", other)
    }

    /// Adds all routes of another router below a prefix, such as `/api` or `/users/:user`. Its route `/` is at the
    /// prefix itself: at `/api`, and not at `/api/`, which is another path and answered with 404. Below the prefix
    /// `/api/` it is at `/api/` instead, and the other routes are where they were. Its fallback and its handler of QUIC
    /// datagrams are taken as by [`merge`](Router::merge).
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// let users = Router::new().get("/", |_req, res| res.text("all\n")).get("/:id", |_req, res| res.text("one\n"));
    /// let router = Router::new().nest("/api/users", users).fallback(|_req, res| res.status(404).text("not here\n"));
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn nest(mut self, prefix: &str, other: Router) -> Self {
        if let Some(error) = other.error {
            self.error.get_or_insert(error);
        }
        let within = |layers: Vec<Layer>| other.layers.iter().cloned().chain(layers).collect();
        for Route { method, pattern, handler, layers, .. } in other.routes.into_iter().flatten() {
            let pattern = match &*pattern {
                "/" if !prefix.is_empty() => prefix.to_owned(),
                pattern => format!("{}{pattern}", prefix.trim_end_matches('/')),
            };
            self.add(method, &pattern, handler, within(layers));
        }
        if let (None, Some(Fallback { handler, layers })) = (&self.fallback, other.fallback) {
            self.fallback = Some(Fallback { handler, layers: within(layers) });
        }
        self.datagrams = self.datagrams.or(other.datagrams);
        self
    }

    /// Handles requests of any method whose path no route has; by default these are answered with 404, or with 501 if
    /// the method is unknown. Not for requests for sessions.
    #[must_use]
    pub fn fallback<R: HandlerResult<Response>>(
        mut self,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.fallback = Some(Fallback { handler: http_handler(handler), layers: Vec::new() });
        self
    }

    /// A layer around every response of this router: those of its routes, whether they were added before or are added
    /// later, of its [fallback](Router::fallback), and the default ones (404, 405, the answer to OPTIONS). It receives
    /// the request, the response to begin with, and what follows, which it calls by [`Next::run`] or not. The layer that was
    /// added first is the outermost one. Routers that are nested or merged keep their own layers, within these.
    ///
    /// A layer passes values to handlers in [`Request::extensions_mut`].
    ///
    /// Before some requests to another origin, a browser sends a preflight request (CORS): OPTIONS with
    /// `access-control-request-method`, without credentials, and the response must have a 2xx status. So the layer for
    /// CORS is outside of that for authentication, and answers such a request itself. It adds its fields to all other
    /// responses, errors included.
    ///
    /// For a request for a session, `next` returns an empty 200 if the session is accepted. A layer that returns an
    /// error instead rejects it; fields that it adds are those of the session's response.
    ///
    /// ```
    /// use mio_quiche::Router;
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// let private = Router::new()
    ///     .get("/me", |req, res| res.text(req.extensions().get::<User>().map_or(String::new(), |user| user.0.clone())))
    ///     .layer(|req, res, next| match req.header("authorization") {
    ///         Some("Bearer secret") => {
    ///             req.extensions_mut().insert(User("somebody".to_owned()));
    ///             next.run(req, res)
    ///         }
    ///         _ => res.status(401).header("www-authenticate", "Bearer"),
    ///     });
    /// let router = Router::new()
    ///     .get("/", |_req, res| res.text("everybody\n"))
    ///     .nest("/private", private)
    ///     // For pages of other origins: outside of the layer that asks for a token.
    ///     .layer(|req, res, next| {
    ///         let res = res.header("access-control-allow-origin", "*");
    ///         if req.method() == "OPTIONS" && req.header("access-control-request-method").is_some() {
    ///             return res
    ///                 .status(204)
    ///                 .header("access-control-allow-methods", "GET, POST")
    ///                 .header("access-control-allow-headers", "authorization, content-type");
    ///         }
    ///         next.run(req, res)
    ///     });
    /// assert!(router.check().is_ok());
    /// ```
    #[must_use]
    pub fn layer<R: HandlerResult<Response>>(
        mut self,
        mut layer: impl FnMut(&mut Request, Response, Next<'_>) -> R + 'static,
    ) -> Self {
        self.layers.push(Rc::new(RefCell::new(move |request: &mut Request, res: Response, next: Next<'_>| {
            let begun = res.head.headers.clone();
            let made = layer(request, res, next);
            answer(made, request.pattern(), begun)
        })));
        self
    }

    /// A route for any one method.
    ///
    /// [`check`](Router::check) reports a pattern that is invalid or conflicts with another one; building a server
    /// calls it first.
    #[must_use]
    pub fn route<R: HandlerResult<Response>>(
        mut self,
        method: Method,
        pattern: &str,
        handler: impl FnMut(&Request, Response) -> R + 'static,
    ) -> Self {
        self.add(method, pattern, Handler::Http(http_handler(handler)), Vec::new());
        self
    }

    /// A route for WebTransport sessions. The handler sees the request (path, origin, fields, offered subprotocols) and
    /// accepts or rejects it; sessions are never accepted implicitly.
    ///
    /// ```
    /// use mio_quiche::{Router, app::EchoSession};
    ///
    /// let router = Router::new().webtransport("/wt/echo", |req| req.accept(EchoSession::default()));
    /// assert!(router.check().is_ok());
    /// ```
    #[cfg(feature = "webtransport")]
    #[must_use]
    pub fn webtransport<R: HandlerResult<SessionResponse>>(
        mut self,
        pattern: &str,
        mut open: impl FnMut(SessionRequest<'_>) -> R + 'static,
    ) -> Self {
        let open = move |request: SessionRequest<'_>| open(request).into_result();
        self.add(Method::CONNECT, pattern, Handler::Session(Box::new(open)), Vec::new());
        self
    }

    /// A handler for QUIC datagrams (RFC 9221) that do not belong to HTTP: on connections with another application
    /// protocol than `h3`, and on those whose client did not ask for HTTP datagrams.
    #[must_use]
    pub fn quic_datagrams(mut self, handler: impl DatagramHandler + 'static) -> Self {
        self.datagrams = Some(Box::new(handler));
        self
    }

    /// Whether a route accepts WebTransport sessions.
    pub(super) fn has_sessions(&self) -> bool {
        self.routes.iter().flatten().any(|route| matches!(route.handler, Handler::Session(_)))
    }

    /// Whether all routes could be registered.
    ///
    /// # Errors
    /// The first route that could not be registered; a conflict names both patterns.
    pub fn check(&self) -> Result<(), RouteError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    fn add(&mut self, method: Method, pattern: &str, handler: Handler, layers: Vec<Layer>) {
        if let Err(error) = self.insert(method, pattern, handler, layers) {
            self.error.get_or_insert(error);
        }
    }

    fn insert(
        &mut self,
        method: Method,
        pattern: &str,
        handler: Handler,
        layers: Vec<Layer>,
    ) -> Result<(), RouteError> {
        let (shape, params) = parse_pattern(pattern)?;
        let invalid = |e: matchit::InsertError| RouteError::Invalid { pattern: pattern.into(), reason: e.to_string() };
        let index = match self.paths.at(&shape) {
            // A shape matches itself; a match by another pattern is not a conflict yet.
            Ok(found) if self.routes[*found.value].iter().any(|r| same_shape(&r.pattern, &shape)) => *found.value,
            _ => {
                let new = self.routes.len();
                if self.empty_rests.remove(&shape) {
                    self.paths.remove(shape.as_str());
                }
                self.paths.insert(shape.as_str(), new).map_err(invalid)?;
                let before_rest = shape.rfind("{*").map(|at| &shape[..at]);
                if let Some(empty) = before_rest
                    && self.paths.insert(empty, new).is_ok()
                {
                    self.empty_rests.insert(empty.to_owned());
                }
                self.routes.push(Vec::new());
                new
            }
        };
        if let Some(existing) = self.routes[index].iter().find(|r| r.method == method) {
            return Err(RouteError::Conflict {
                method: method.to_string(),
                pattern: pattern.to_owned(),
                existing: existing.pattern.to_string(),
            });
        }
        self.routes[index].push(Route { method, pattern: pattern.into(), params, handler, layers });
        Ok(())
    }

    /// Calls the handler of the matching route within its layers, or returns the default response if there is none.
    pub(super) fn call(&mut self, request: &mut Request) -> Response {
        let Router { paths, routes, fallback, layers, .. } = self;
        let default = |response: Box<Response>, inner: &[Layer], request: &mut Request| {
            let mut response = Some(*response);
            let mut handler =
                |_: &Request, begun: Response| response.take().map_or(Response::default(), |r| r.after(begun));
            Next::new(layers, inner, &mut handler).run(request, Response::default())
        };
        match find(paths, routes, request) {
            Found::Route(Route { handler: Handler::Http(handler), layers: inner, .. }) => {
                Next::new(layers, inner, handler).run(request, Response::default())
            }
            // Only an extended CONNECT opens a session.
            Found::Route(route) => {
                default(Box::new(Response::plain(StatusCode::NOT_IMPLEMENTED)), &route.layers, request)
            }
            Found::NoPath(response) => match fallback {
                Some(Fallback { handler, layers: inner }) => {
                    Next::new(layers, inner, handler).run(request, Response::default())
                }
                None => default(response, &[], request),
            },
            Found::NoMethod(route, response) => default(response, &route.layers, request),
            Found::Server(response) => default(response, &[], request),
        }
    }

    /// Lets the handler of the matching route accept or reject a session, within its layers.
    pub(super) fn open_session(&mut self, request: &mut Request) -> SessionResponse {
        let Router { paths, routes, layers, .. } = self;
        let (open, inner) = match find(paths, routes, request) {
            Found::Route(Route { handler: Handler::Session(open), layers: inner, .. }) => (open, inner),
            Found::Route(_) => return SessionResponse::reject(Response::plain(StatusCode::METHOD_NOT_ALLOWED)),
            Found::NoPath(response) | Found::NoMethod(_, response) | Found::Server(response) => {
                return SessionResponse::reject(*response);
            }
        };
        let mut accepted = None;
        let mut decide = |request: &Request, begun: Response| match open(SessionRequest::new(request)) {
            Ok(SessionResponse(SessionDecision::Accept(handler, headers))) => {
                accepted = Some((handler, headers));
                begun
            }
            Ok(SessionResponse(SessionDecision::Reject(response))) => response.after(begun),
            Err(error) => error.respond(request.pattern(), begun.head.headers),
        };
        let response = Next::new(layers, inner, &mut decide).run(request, Response::default());
        match accepted {
            Some((handler, mut headers)) if response.head.status.is_success() => {
                headers.extend(response.head.headers);
                SessionResponse(SessionDecision::Accept(handler, headers))
            }
            None if response.head.status.is_success() => {
                log::error!("a layer answered a request for a session with {}", response.head.status);
                SessionResponse::reject(Response::plain(StatusCode::INTERNAL_SERVER_ERROR))
            }
            _ => SessionResponse::reject(response),
        }
    }
}

/// Answers the errors of a handler, too.
fn http_handler<R: HandlerResult<Response>>(mut handler: impl FnMut(&Request, Response) -> R + 'static) -> HttpHandler {
    Box::new(move |request, res| {
        let begun = res.head.headers.clone();
        answer(handler(request, res), request.pattern(), begun)
    })
}

/// Finds what takes a request, and sets the request's parameters.
fn find<'a>(paths: &matchit::Router<usize>, routes: &'a mut [Vec<Route>], request: &mut Request) -> Found<'a> {
    let path = match request.path() {
        path if path.starts_with('/') => normalize(path),
        path => Cow::Borrowed(path),
    };
    let method = request.method().clone();
    let is_known = is_known_method(&method) || request.protocol().is_some();
    if path == "*" && method == Method::OPTIONS {
        let allow = allow(routes.iter().flatten());
        return Found::Server(Box::new(Response::default().status(204).header("allow", allow)));
    }
    let Ok(found) = paths.at(&path) else {
        let is_known = is_known || routes.iter().flatten().any(|r| r.method == method);
        let status = if is_known { StatusCode::NOT_FOUND } else { StatusCode::NOT_IMPLEMENTED };
        return Found::NoPath(Box::new(Response::plain(status)));
    };
    let start = path.as_ptr() as usize;
    let mut ranges: Vec<Range<usize>> = found
        .params
        .iter()
        .map(|(_, value)| {
            let from = value.as_ptr() as usize - start;
            from..from + value.len()
        })
        .collect();
    let routes = &mut routes[*found.value];
    let position = routes
        .iter()
        .position(|r| r.method == method)
        .or_else(|| routes.iter().position(|r| r.method == Method::GET && method == Method::HEAD));
    let Some(position) = position else {
        let allow = allow(routes.iter());
        let response = match method {
            Method::OPTIONS => Response::default().status(204).header("allow", allow),
            _ if is_known => Response::plain(StatusCode::METHOD_NOT_ALLOWED).header("allow", allow),
            _ => Response::plain(StatusCode::NOT_IMPLEMENTED),
        };
        // A shape has at least one route.
        return Found::NoMethod(&routes[0], Box::new(response));
    };
    let route = &mut routes[position];
    // Of a rest that is empty.
    ranges.resize(route.params.len(), path.len()..path.len());
    let params = route.params.iter().cloned().zip(ranges).collect();
    let normal_path = match path {
        Cow::Owned(path) => Some(path),
        Cow::Borrowed(_) => None,
    };
    request.set_route(route.pattern.clone(), normal_path, params);
    Found::Route(route)
}

/// The `allow` field of some routes (RFC 9110 section 10.2.1).
fn allow<'a>(routes: impl Iterator<Item = &'a Route>) -> HeaderValue {
    let mut methods: Vec<&str> = routes.map(|r| r.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    // Methods are tokens, which are valid in field values.
    HeaderValue::try_from(methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// The pattern in matchit's syntax with numbered parameters, so that `/a/:id` and `/a/:name` are one shape.
fn parse_pattern(pattern: &str) -> Result<(String, Vec<Arc<str>>), RouteError> {
    let invalid = |reason: &str| RouteError::Invalid { pattern: pattern.to_owned(), reason: reason.to_owned() };
    let Some(path) = pattern.strip_prefix('/') else { return Err(invalid("it must begin with '/'")) };
    let mut shape = String::new();
    let mut params: Vec<Arc<str>> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        shape.push('/');
        let (open, name) = match segment.as_bytes() {
            [b':', ..] => ("{", &segment[1..]),
            [b'*', ..] if i + 1 < segments.len() => return Err(invalid("'*' must be its last segment")),
            [b'*'] => ("{*", "*"),
            [b'*', ..] => ("{*", &segment[1..]),
            _ => {
                let segment = normalize_segments(segment);
                if matches!(&*segment, "." | "..") {
                    return Err(invalid("no path that is compared has a '.' or '..' segment"));
                }
                shape.push_str(&segment);
                continue;
            }
        };
        if name.is_empty() {
            return Err(invalid("a parameter needs a name"));
        }
        if params.iter().any(|p| &**p == name) {
            return Err(invalid("two parameters have the same name"));
        }
        shape.push_str(&format!("{open}p{}}}", params.len()));
        params.push(name.into());
    }
    Ok((shape, params))
}

fn same_shape(pattern: &str, shape: &str) -> bool {
    parse_pattern(pattern).is_ok_and(|(s, _)| s == shape)
}
