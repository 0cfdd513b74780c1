//! What is around the files: fields, redirects, CORS, authentication.

use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, LOCATION, ORIGIN, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method};
use mio_quiche::{Request, Response, Router};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use ring::hmac;
use ring::rand::SystemRandom;
use url::Url;

/// What a path may have as it is (RFC 3986 section 3.3), without a backslash, which browsers take for a slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// An origin whose pages may read everything, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CorsOrigin {
    Any,
    One(HeaderValue),
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(CorsOrigin::Any);
        }
        let serialized = Url::parse(text).map(|url| url.origin().ascii_serialization());
        match HeaderValue::from_str(text) {
            Ok(value) if serialized.as_deref() == Ok(text) => Ok(CorsOrigin::One(value)),
            _ => Err("not an origin: write SCHEME://HOST or SCHEME://HOST:PORT, or * for any".to_owned()),
        }
    }
}

/// A user with a password. Holds neither: credentials are compared in a time that does not depend on them.
#[derive(Clone)]
pub(super) struct Account {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

impl FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {}
            _ => return Err("give USER:PASSWORD".to_owned()),
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| "no random bytes")?;
        let tag = hmac::sign(&key, text.as_bytes());
        Ok(Account { key, tag })
    }
}

impl Account {
    /// Whether these are the name, a colon and the password.
    fn matches(&self, credentials: &[u8]) -> bool {
        hmac::verify(&self.key, credentials, self.tag.as_ref()).is_ok()
    }
}

/// The credentials of RFC 7617.
fn credentials(request: &Request) -> Option<Vec<u8>> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(token.trim().as_bytes()).ok())?
}

/// Fields of the responses for some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// With at most one `*`, which stands for anything.
    pub(super) paths: String,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

impl Fields {
    fn apply_to(&self, path: &str) -> bool {
        match self.paths.split_once('*') {
            None => path == self.paths,
            Some((start, end)) => {
                path.len() >= start.len() + end.len() && path.starts_with(start) && path.ends_with(end)
            }
        }
    }
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// A pattern of a route.
    pub(super) from: String,
    /// `*` stands for that of `from`.
    pub(super) to: String,
    pub(super) status: u16,
}

impl Redirect {
    fn respond(&self, request: &Request, res: Response) -> Response {
        let rest = request.param_bytes("*").unwrap_or_default();
        let mut location = self.to.replacen('*', &percent_encode(&rest, PATH).to_string(), 1);
        if let Some(query) = request.query().filter(|_| !self.to.contains('?')) {
            location = format!("{location}?{query}");
        }
        res.status(self.status).header(LOCATION, location)
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub(super) fields: Vec<Fields>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) cors: Vec<CorsOrigin>,
    pub(super) accounts: Arc<[Account]>,
}

impl Site {
    /// Puts it around the routes.
    pub(super) fn around(&self, mut router: Router) -> Router {
        for redirect in &self.redirects {
            let own = redirect.clone();
            router = router.get(&redirect.from, move |req, res| own.respond(req, res));
        }
        if !self.fields.is_empty() {
            let own = self.fields.clone();
            router = router.layer(move |req, mut res: Response, next| {
                for (name, value) in own.iter().filter(|own| own.apply_to(req.path())).flat_map(|own| &own.fields) {
                    res = res.header(name, value);
                }
                next.run(req, res)
            });
        }
        // Outside of authentication: a preflight request has no credentials.
        if !self.cors.is_empty() {
            let origins = self.cors.clone();
            router = router.layer(move |req, res, next| {
                let res = allow(req, res, &origins);
                match *req.method() == Method::OPTIONS && req.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
                    true => res.status(204),
                    false => next.run(req, res),
                }
            });
        }
        if !self.accounts.is_empty() {
            let accounts = Arc::clone(&self.accounts);
            router = router.layer(move |req, res, next| {
                let credentials = credentials(req).unwrap_or_default();
                // All of them, so that the time does not tell which one it was.
                let known = accounts.iter().filter(|account| account.matches(&credentials)).count();
                match known {
                    0 => res.status(401).header(WWW_AUTHENTICATE, "Basic realm=\"mio-quiche\", charset=\"UTF-8\""),
                    _ => next.run(req, res),
                }
            });
        }
        router
    }
}

/// The fields of CORS (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
fn allow(req: &Request, res: Response, origins: &[CorsOrigin]) -> Response {
    let origin = req.headers().get(ORIGIN);
    let (allowed, res) = match origins.contains(&CorsOrigin::Any) {
        true => (Some(HeaderValue::from_static("*")), res),
        false => {
            let known = origin.filter(|origin| origins.contains(&CorsOrigin::One((*origin).clone())));
            (known.cloned(), res.header(VARY, "origin"))
        }
    };
    let Some(allowed) = allowed else { return res };
    let res = res.header(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if *req.method() == Method::OPTIONS && req.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        // `*` does not include authorization.
        res.header(ACCESS_CONTROL_ALLOW_METHODS, "*")
            .header(ACCESS_CONTROL_ALLOW_HEADERS, "*, authorization")
            .header(ACCESS_CONTROL_MAX_AGE, 7200)
    } else {
        res.header(ACCESS_CONTROL_EXPOSE_HEADERS, "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_accounts_on_the_command_line() {
        assert_eq!("*".parse(), Ok(CorsOrigin::Any));
        let one = CorsOrigin::One(HeaderValue::from_static("https://a.example:8443"));
        assert_eq!("https://a.example:8443".parse(), Ok(one));
        for wrong in ["", "a.example", "null", "https://a.example/", "https://A.example", "https://a.example:443"] {
            assert!(wrong.parse::<CorsOrigin>().is_err(), "{wrong}");
        }
        let account: Account = "me:a:b".parse().unwrap();
        assert!(account.matches(b"me:a:b"));
        for wrong in [&b""[..], b"me", b"me:", b"me:a", b"me:a:b:c", b"ME:a:b"] {
            assert!(!account.matches(wrong), "{wrong:?}");
        }
        assert!(!format!("{account:?}").contains("me"));
        for wrong in ["", "me", "me:", ":secret", ":"] {
            assert!(wrong.parse::<Account>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_star_in_a_path_stands_for_anything() {
        let apply = |paths: &str, path: &str| Fields { paths: paths.into(), fields: Vec::new() }.apply_to(path);
        for (paths, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/a", false),
            ("/*.js", "/x/y.js", true),
            ("/*.js", "/x/y.jsx", false),
            ("/aa*aa", "/aaa", false),
            ("*", "/", true),
        ] {
            assert_eq!(apply(paths, path), expected, "{paths} {path}");
        }
    }
}
