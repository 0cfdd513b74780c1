//! `-b` and `-c`: cookies, in files of Netscape's form as curl's.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use cookie_store::{Cookie, CookieDomain, CookieExpiration, CookieStore, RawCookie};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use mio_quiche::ClientRequest;
use url::{Host, Url};

use super::failure::{Problem, USAGE, WRITE};
use super::output::Stdout;
use super::replace::replace;
use crate::cli::input;

/// As curl's limits: cookies in all, bytes of one, and of all in a request.
const MAX_COOKIES: usize = 3000;
const MAX_COOKIE: usize = 4096;
const MAX_FIELD: usize = 8190;

/// The last second that a date in a cookie can name.
const END_OF_9999: u64 = 253_402_300_799;

/// What a file begins with.
const HEAD: &str = "# Netscape HTTP Cookie File\n\n";
/// What the domain of a cookie begins with that scripts do not see.
const HTTP_ONLY: &str = "#HttpOnly_";

#[derive(Debug)]
pub(super) struct Cookies {
    store: CookieStore,
    /// Cookies servers set are kept: `-c`, or `-b` with a file.
    learns: bool,
    /// Of `-b NAME=VALUE`, for the hosts of the URLs only.
    literal: String,
    jar: Option<PathBuf>,
}

impl Cookies {
    /// `given`: the values of `-b`. A file that is not there is an empty one, as it may be written later.
    ///
    /// # Errors
    /// A value that no field can have.
    pub(super) fn read(given: &[String], jar: Option<&Path>, junk_session: bool) -> Result<Option<Self>, Problem> {
        if given.is_empty() && jar.is_none() {
            return Ok(None);
        }
        let mut cookies =
            Cookies { store: CookieStore::default(), learns: jar.is_some(), literal: String::new(), jar: None };
        cookies.jar = jar.map(Path::to_owned);
        for text in given {
            if text.contains('=') {
                HeaderValue::from_str(text)
                    .map_err(|_| Problem::new(USAGE, format!("-b '{text}': cannot be sent as a cookie")))?;
                let separator = if cookies.literal.is_empty() { "" } else { "; " };
                let _ = write!(cookies.literal, "{separator}{text}");
                continue;
            }
            cookies.learns = true;
            // As in curl, a file that cannot be read has no cookies.
            let file = input::read_or_stdin(text.as_ref()).unwrap_or_default();
            for line in String::from_utf8_lossy(&file).lines() {
                cookies.load(line, junk_session);
            }
        }
        Ok(Some(cookies))
    }

    /// Takes a line of a file: seven fields, or a `set-cookie` field. Others are ignored.
    fn load(&mut self, line: &str, junk_session: bool) {
        let (line, http_only) = line.strip_prefix(HTTP_ONLY).map_or((line, false), |line| (line, true));
        if line.starts_with('#') {
            return;
        }
        let fields: Vec<&str> = line.trim_end_matches('\r').split('\t').collect();
        let [domain, tail, path, secure, expires, name, rest @ ..] = &fields[..] else { return };
        let host = domain.trim_start_matches('.');
        let Ok(url) = Url::parse(&format!("https://{host}{path}")) else { return };
        let expires: i64 = expires.parse().unwrap_or_default();
        if expires == 0 && junk_session {
            return;
        }
        let value = rest.first().copied().unwrap_or_default();
        let mut text = format!("{name}={value}; Path={path}");
        if expires > 0 {
            let at = UNIX_EPOCH + Duration::from_secs(expires.unsigned_abs().min(END_OF_9999));
            let _ = write!(text, "; Expires={}", httpdate::fmt_http_date(at));
        }
        for (is_so, attribute) in [(*secure == "TRUE", "; Secure"), (http_only, "; HttpOnly")] {
            text.push_str(if is_so { attribute } else { "" });
        }
        if *tail == "TRUE" {
            let _ = write!(text, "; Domain={host}");
        }
        self.set(&url, &text);
    }

    /// Takes the cookies of a response.
    pub(super) fn learn(&mut self, url: &str, fields: &HeaderMap) {
        let Some(url) = Url::parse(url).ok().filter(|_| self.learns) else { return };
        for text in fields.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let Ok(mut cookie) = RawCookie::parse(text) else { continue };
            if let Some(domain) = cookie.domain().map(|domain| domain.trim_start_matches('.').to_ascii_lowercase()) {
                if !is_within(&url, &domain) {
                    continue;
                }
                if is_registry(&domain) || url.domain().is_none() {
                    cookie.unset_domain();
                }
            }
            self.set(&url, &cookie.to_string());
        }
    }

    fn set(&mut self, url: &Url, text: &str) {
        let Ok(raw) = RawCookie::parse(text) else { return };
        let is_full = self.store.iter_any().count() >= MAX_COOKIES;
        if is_full || raw.name().len() + raw.value().len() > MAX_COOKIE {
            return;
        }
        if let Ok(cookie) = Cookie::try_from_raw_cookie(&raw, url) {
            // One that is refused is none.
            let _ = self.store.insert(cookie.into_owned(), url);
        }
    }

    /// Adds the cookies to a request, unless it has some of its own. `is_first`: it goes to a host of the URLs.
    pub(super) fn add_to(&self, request: ClientRequest, url: &str, is_first: bool) -> ClientRequest {
        let Ok(url) = Url::parse(url) else { return request };
        if request.head().headers.contains_key(COOKIE) {
            return request;
        }
        let mut all = self.store.matches(&url);
        // RFC 6265 section 5.4: those with longer paths first; the rest as curl.
        all.sort_by(|a, b| {
            let key = |cookie: &Cookie<'_>| (cookie.path.len(), host(cookie).len(), cookie.name().len());
            key(b).cmp(&key(a)).then_with(|| a.name().cmp(b.name()))
        });
        let mut field = String::new();
        let stored = all.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value()));
        let literal = Some(self.literal.clone()).filter(|text| is_first && !text.is_empty());
        for pair in stored.chain(literal).filter(|pair| pair.len() <= MAX_FIELD) {
            if field.len() + pair.len() + 2 <= MAX_FIELD {
                field.push_str(if field.is_empty() { "" } else { "; " });
                field.push_str(&pair);
            }
        }
        match HeaderValue::try_from(field) {
            Ok(field) if !field.is_empty() => request.header(COOKIE, field),
            _ => request,
        }
    }

    /// Writes `-c`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(super) fn save(&self, stdout: &Stdout) -> Result<(), Problem> {
        let Some(jar) = &self.jar else { return Ok(()) };
        let mut lines: Vec<String> = self.store.iter_unexpired().map(line).collect();
        lines.sort_unstable();
        let text = format!("{HEAD}{}", lines.concat());
        if jar.as_os_str() == "-" {
            return stdout.write(text.into());
        }
        let failed = |e| Problem::new(WRITE, format!("cannot write the cookies to '{}': {e} (-c)", jar.display()));
        replace(jar, &text).map_err(failed)
    }
}

/// The host or domain of a cookie.
fn host<'a>(cookie: &'a Cookie<'_>) -> &'a str {
    match &cookie.domain {
        CookieDomain::HostOnly(host) | CookieDomain::Suffix(host) => host,
        CookieDomain::NotPresent | CookieDomain::Empty => "",
    }
}

/// A cookie as a line of a file.
fn line(cookie: &Cookie<'_>) -> String {
    let truth = |is_so: bool| if is_so { "TRUE" } else { "FALSE" };
    let is_suffix = matches!(cookie.domain, CookieDomain::Suffix(_));
    let expires = match &cookie.expires {
        CookieExpiration::AtUtc(at) => at.unix_timestamp(),
        CookieExpiration::SessionEnd => 0,
    };
    let http_only = if cookie.http_only().unwrap_or_default() { HTTP_ONLY } else { "" };
    let dot = if is_suffix { "." } else { "" };
    let (secure, path): (_, &str) = (truth(cookie.secure().unwrap_or_default()), &cookie.path);
    let (host, suffix, name, value) = (host(cookie), truth(is_suffix), cookie.name(), cookie.value());
    format!("{http_only}{dot}{host}\t{suffix}\t{path}\t{secure}\t{expires}\t{name}\t{value}\n")
}

/// Whether a host may set cookies for a domain (RFC 6265 section 5.1.3).
fn is_within(url: &Url, domain: &str) -> bool {
    match url.host() {
        Some(Host::Domain(host)) => host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        _ => url.host_str() == Some(domain),
    }
}

/// Whether a domain may be one below which anyone can have a name, such as `uk` or `co.uk`. There is no list of these
/// here, so that a cookie for a short name in a country is kept for its own host alone.
fn is_registry(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    match labels[..] {
        [_] => true,
        [name, country] => country.len() == 2 && name.len() <= 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &Cookies, url: &str, is_first: bool) -> String {
        let request = ClientRequest::get(url).expect("a URL");
        let request = cookies.add_to(request, url, is_first);
        let field = request.head().headers.get(COOKIE);
        field.map(|field| field.to_str().expect("text").to_owned()).unwrap_or_default()
    }

    #[test]
    fn domains() {
        let mut cookies = Cookies::read(&[String::new()], None, false).expect("no failure").expect("cookies");
        let mut learn = |url: &str, text: &str| {
            cookies.learn(url, &HeaderMap::from_iter([(SET_COOKIE, text.parse().expect("a value"))]));
        };
        learn("https://www.example.com/dir/page", "a=1; Domain=example.com; Path=/");
        learn("https://www.example.com/dir/page", "b=2");
        learn("https://www.example.com/", "c=3; Domain=other.example");
        learn("https://www.shop.co.uk/", "d=4; Domain=co.uk");
        learn("https://www.shop.co.uk/", "e=5; Domain=uk");
        assert_eq!(sent(&cookies, "https://www.example.com/dir/x", true), "b=2; a=1");
        assert_eq!(sent(&cookies, "https://api.example.com/", true), "a=1");
        assert_eq!(sent(&cookies, "https://www.shop.co.uk/", true), "d=4; e=5");
        for other in
            ["https://example.net/", "https://bank.co.uk/", "https://notexample.com/", "https://other.example/"]
        {
            assert_eq!(sent(&cookies, other, true), "", "{other}");
        }
    }

    #[test]
    fn lines_are_read_and_written() {
        let given = ["x=1; y=2".to_owned(), "z=3".to_owned()];
        let mut cookies = Cookies::read(&given, None, false).expect("no failure").expect("cookies");
        let far = 4_102_444_800_i64;
        let kept = [
            format!("#HttpOnly_.example.com\tTRUE\t/\tTRUE\t{far}\ta\t1"),
            "example.com\tFALSE\t/dir\tFALSE\t0\tb\t2".to_owned(),
        ];
        let dropped = ["# a comment", "", "too\tfew", "example.com\tFALSE\t/\tFALSE\t1000\told\t1"];
        for line in kept.iter().map(String::as_str).chain(dropped) {
            cookies.load(line, false);
        }
        cookies.load("example.com\tFALSE\t/\tFALSE\t0\tsession\t1", true);
        let mut lines: Vec<_> = cookies.store.iter_unexpired().map(line).collect();
        lines.sort_unstable();
        assert_eq!(lines, kept.map(|line| line + "\n"));
        assert_eq!(sent(&cookies, "https://example.com/dir/", true), "b=2; a=1; x=1; y=2; z=3");
        assert_eq!(sent(&cookies, "https://example.com/", false), "a=1");
    }
}
