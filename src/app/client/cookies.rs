//! A client's cookies (RFC 6265).

use std::borrow::Cow;

use cookie_store::{Cookie, CookieDomain, CookieStore, RawCookie};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use url::{Host, Url};

use crate::endpoint::RequestHead;

/// RFC 6265 section 6.1: what a client should at least keep, in cookies and bytes. Further cookies are ignored.
const MAX_IN_ALL: usize = 3000;
const MAX_PER_HOST: usize = 50;
const MAX_COOKIE: usize = 4096;
/// Bytes of cookies in a request, as its head must fit into the first flight. The rest of them is left out.
const MAX_IN_REQUEST: usize = 8192;

/// The cookies that servers have set.
///
/// They go back to the host that set them, and to no other one: without a list of public suffixes, nothing tells
/// whether `Domain=co.uk` names a registry or a site (RFC 6265 section 5.3, step 5).
#[derive(Debug, Default)]
pub(super) struct Cookies(CookieStore);

impl Cookies {
    /// Takes the cookies of a response.
    pub(super) fn learn(&mut self, url: &Url, headers: &HeaderMap) {
        for field in headers.get_all(SET_COOKIE) {
            let taken = field.to_str().map_err(|_| "it is not ASCII").and_then(|text| self.set(url, text));
            if let Err(reason) = taken {
                log::debug!("{url}: a cookie is ignored: {reason}");
            }
        }
    }

    /// Takes the value of a `set-cookie` field.
    ///
    /// # Errors
    /// Why it is ignored.
    pub(super) fn set(&mut self, url: &Url, text: &str) -> Result<(), &'static str> {
        let mut cookie = RawCookie::parse(text).map_err(|_| "it is malformed")?.into_owned();
        if cookie.name().len() + cookie.value().len() > MAX_COOKIE {
            return Err("it is too long");
        }
        if let Some(domain) = cookie.domain() {
            if !is_within(url, domain) {
                return Err("it is for another domain");
            }
            cookie.unset_domain();
        }
        let cookie = Cookie::try_from_raw_cookie(&cookie, url).map_err(|_| "it is not acceptable")?;
        let (domain, path, name) = key(&cookie);
        if !self.0.contains_any(domain, path, name) {
            self.make_room(domain)?;
        }
        self.0.insert(cookie.into_owned(), url).map(drop).map_err(|_| "it is not acceptable")
    }

    fn make_room(&mut self, domain: &str) -> Result<(), &'static str> {
        if self.0.iter_any().count() >= MAX_IN_ALL {
            let expired = self.0.iter_any().filter(|known| known.is_expired()).map(key);
            let expired: Vec<_> = expired.map(|(d, p, n)| (d.to_owned(), p.to_owned(), n.to_owned())).collect();
            for (domain, path, name) in expired {
                self.0.remove(&domain, &path, &name);
            }
            if self.0.iter_any().count() >= MAX_IN_ALL {
                return Err("there are too many");
            }
        }
        match self.0.iter_unexpired().filter(|known| key(known).0 == domain).count() >= MAX_PER_HOST {
            true => Err("there are too many of this host"),
            false => Ok(()),
        }
    }

    /// The value of the `cookie` field of a request. `None` if there are no cookies for it.
    pub(super) fn field(&self, url: &Url) -> Option<HeaderValue> {
        let mut all = self.0.matches(url);
        // RFC 6265 section 5.4: those with longer paths first.
        all.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| a.name().cmp(b.name())));
        let mut field = String::new();
        for cookie in all {
            let pair = format!("{}={}", cookie.name(), cookie.value());
            if field.len() + pair.len() + 2 > MAX_IN_REQUEST {
                continue;
            }
            if !field.is_empty() {
                field.push_str("; ");
            }
            field.push_str(&pair);
        }
        HeaderValue::try_from(field).ok().filter(|field| !field.is_empty())
    }

    /// Adds the cookies to a request that has none of its own.
    pub(super) fn add_to<'a>(&self, url: &Url, mut head: Cow<'a, RequestHead>) -> Cow<'a, RequestHead> {
        if !head.headers.contains_key(COOKIE)
            && let Some(field) = self.field(url)
        {
            head.to_mut().headers.insert(COOKIE, field);
        }
        head
    }
}

/// What identifies a cookie: its host, path and name.
fn key<'a>(cookie: &'a Cookie<'_>) -> (&'a str, &'a str, &'a str) {
    let host = match &cookie.domain {
        CookieDomain::HostOnly(host) | CookieDomain::Suffix(host) => host,
        CookieDomain::NotPresent | CookieDomain::Empty => "",
    };
    (host, &cookie.path, cookie.name())
}

/// Whether a host may set cookies for a domain (RFC 6265 section 5.1.3).
fn is_within(url: &Url, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    match url.host() {
        Some(Host::Domain(host)) => {
            host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
        }
        _ => url.host_str() == Some(&domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn cookies_go_back_where_they_came_from() {
        let mut cookies = Cookies::default();
        let fields =
            ["a=1", "b=2; Path=/deep", "c=3; Domain=example.com; Secure; HttpOnly", "d=4; Max-Age=0", "=;", "e=ü"];
        let fields = fields.iter().map(|text| (SET_COOKIE, HeaderValue::from_bytes(text.as_bytes()).expect("a value")));
        cookies.learn(&url("https://www.example.com/dir/page"), &fields.collect());
        let sent = |to| cookies.field(&url(to)).map(|field| field.to_str().expect("text").to_owned());
        assert_eq!(sent("https://www.example.com/dir/x").as_deref(), Some("a=1; c=3"));
        assert_eq!(sent("https://www.example.com:444/deep/").as_deref(), Some("b=2"), "as RFC 6265: of every port");
        assert_eq!(sent("https://www.example.com/").as_deref(), None);
        for other in ["https://example.com/dir/x", "https://a.www.example.com/dir/x", "https://other.example.com/dir/x"]
        {
            assert_eq!(sent(other), None, "{other}");
        }
    }

    #[test]
    fn cookies_of_other_domains_are_refused() {
        let mut cookies = Cookies::default();
        let mut set = |from, text| cookies.set(&url(from), text);
        assert_eq!(set("https://a.example/", "x=1; Domain=b.example"), Err("it is for another domain"));
        assert_eq!(set("https://a.example/", "x=1; Domain=b.a.example"), Err("it is for another domain"));
        assert_eq!(set("https://xa.example/", "x=1; Domain=a.example"), Err("it is for another domain"));
        assert_eq!(set("https://10.0.0.1/", "x=1; Domain=0.0.1"), Err("it is for another domain"));
        assert_eq!(set("https://10.0.0.1/", "x=1; Domain=10.0.0.1"), Ok(()));
        // Its registry is not known, so it is this host's alone.
        assert_eq!(set("https://shop.co.uk/", "x=1; Domain=.co.UK"), Ok(()));
        assert_eq!(cookies.field(&url("https://bank.co.uk/")), None);
        assert_eq!(cookies.field(&url("https://shop.co.uk/")).expect("a cookie"), "x=1");
    }

    #[test]
    fn there_are_not_too_many() {
        let mut cookies = Cookies::default();
        let from = url("https://a.example/");
        assert_eq!(cookies.set(&from, &format!("x={}", "v".repeat(4096))), Err("it is too long"));
        for n in 0..MAX_PER_HOST {
            assert_eq!(cookies.set(&from, &format!("x={}; Path=/{n}", "v".repeat(4000))), Ok(()));
        }
        assert_eq!(cookies.set(&from, "y=1"), Err("there are too many of this host"));
        assert_eq!(cookies.set(&from, "x=1; Path=/7"), Ok(()), "a new value");
        assert_eq!(cookies.set(&from, "x=1; Path=/7; Max-Age=0"), Ok(()), "its end");
        assert_eq!(cookies.set(&from, "y=1"), Ok(()));
        for n in 0..MAX_IN_ALL - MAX_PER_HOST - 1 {
            assert_eq!(cookies.set(&url(&format!("https://{n}.example/")), "x=1"), Ok(()), "{n}");
        }
        assert_eq!(cookies.set(&url("https://b.example/"), "x=1"), Ok(()), "in place of the one that expired");
        assert_eq!(cookies.set(&url("https://c.example/"), "x=1"), Err("there are too many"));
    }

    #[test]
    fn a_request_has_at_most_8_kib_of_them() {
        let mut cookies = Cookies::default();
        let from = url("https://a.example/");
        for n in 0..5 {
            cookies.set(&from, &format!("x{n}={}", "v".repeat(4000))).expect("a cookie");
        }
        cookies.set(&from, "y=1").expect("a cookie");
        let field = cookies.field(&from).expect("cookies");
        assert!(field.len() <= MAX_IN_REQUEST && field.to_str().expect("text").ends_with("; y=1"), "{field:?}");
    }
}
