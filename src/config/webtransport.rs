//! Settings of WebTransport sessions, and the SETTINGS of HTTP/3 that offer them.

use std::time::Duration;

#[cfg(feature = "webtransport")]
use url::Url;

use super::check;
use crate::error::ConfigError;

/// Setting of draft-02: the endpoint supports WebTransport. Chromium and Firefox require it.
pub(crate) const SETTING_ENABLE_DRAFT02: u64 = 0x2b60_3742;
/// Setting of draft-07: sessions that the server accepts on a connection.
pub(crate) const SETTING_MAX_SESSIONS_DRAFT07: u64 = 0xc671_706a;
/// Setting of draft-13: sessions that the server accepts on a connection.
pub(crate) const SETTING_MAX_SESSIONS_DRAFT13: u64 = 0x14e9_cd29;
/// Setting of draft-15: the endpoint supports WebTransport.
pub(crate) const SETTING_ENABLED_DRAFT15: u64 = 0x2c7c_f000;
/// Initial limit of a session's unidirectional streams.
pub(crate) const SETTING_INITIAL_MAX_STREAMS_UNI: u64 = 0x2b64;
/// Initial limit of a session's bidirectional streams.
pub(crate) const SETTING_INITIAL_MAX_STREAMS_BIDI: u64 = 0x2b65;
/// Initial limit of bytes on a session's streams.
pub(crate) const SETTING_INITIAL_MAX_DATA: u64 = 0x2b61;

/// Settings for WebTransport sessions (draft-ietf-webtrans-http3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebTransportConfig {
    /// Offer sessions. Default: off for a server, where [`Server::bind`](crate::Server::bind) turns it on when the router
    /// has a route for sessions and `allowed` is set; on for a client.
    pub enabled: bool,
    /// Whether routes may enable sessions. Default: on.
    pub allowed: bool,
    /// The drafts that are offered in SETTINGS (RFC 9114 section 7.2.4). Default: those of today's browsers.
    pub drafts: Drafts,
    /// Sessions at a time on a connection. Default: 16.
    pub max_sessions: usize,
    /// Sessions at a time on all connections; further ones get 429. Default: 10 000.
    pub max_sessions_total: usize,
    /// Streams of each kind that the peer may have open in a session. Default: 1000.
    pub max_session_streams: usize,
    /// Streams of each kind that the peer may have open on a connection with WebTransport, if that is more than
    /// [`max_streams_bidi`](super::TransportConfig::max_streams_bidi), which stays the limit on requests, and
    /// [`max_streams_uni`](super::TransportConfig::max_streams_uni); browsers do not wait for more streams. Default: 1000.
    pub max_streams: u64,
    /// Bytes that a session may receive before more is granted; only with [`Drafts::All`]. Default: 16 MiB.
    pub initial_max_data: u64,
    /// Time without traffic after which a session is closed. Default: none.
    pub idle_timeout: Option<Duration>,
    /// Time after which a connection that had only sessions is closed, once all have ended: Chromium opens a connection
    /// for each session and never closes it. Default: 10 s.
    pub linger: Duration,
    /// Origins besides the server's own whose pages may open sessions, as browsers serialise them (RFC 6454 section 6.2):
    /// `https://example.com` or `http://localhost:8080`, without a path and without the scheme's default port. `*` for
    /// any. Default: none.
    pub allow_origins: Vec<String>,
}

/// Drafts of WebTransport over HTTP/3 that are offered in SETTINGS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Drafts {
    /// Draft-02 and draft-07, which today's browsers ask for.
    #[default]
    Browsers,
    /// Also draft-13 to draft-15, with flow control of sessions.
    All,
}

impl Default for WebTransportConfig {
    fn default() -> Self {
        WebTransportConfig {
            enabled: false,
            allowed: true,
            drafts: Drafts::default(),
            max_sessions: 16,
            max_sessions_total: 10_000,
            max_session_streams: 1000,
            max_streams: 1000,
            initial_max_data: 16 * 1024 * 1024,
            idle_timeout: None,
            linger: Duration::from_secs(10),
            allow_origins: Vec::new(),
        }
    }
}

/// The initial limits of a session, in SETTINGS of either side; zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionLimits {
    pub(crate) data: u64,
    pub(crate) bidi: u64,
    pub(crate) uni: u64,
}

impl SessionLimits {
    /// A side that sends no limit above zero does not request flow control.
    pub(crate) fn any(&self) -> bool {
        self.data > 0 || self.bidi > 0 || self.uni > 0
    }
}

impl WebTransportConfig {
    /// Whether this side offers sessions.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled && self.allowed && cfg!(feature = "webtransport")
    }

    /// The local side's initial limits of a session.
    pub(crate) fn limits(&self) -> SessionLimits {
        match self.drafts {
            Drafts::Browsers => SessionLimits::default(),
            Drafts::All => SessionLimits {
                data: self.initial_max_data,
                bidi: self.max_session_streams as u64,
                uni: self.max_session_streams as u64,
            },
        }
    }

    /// The SETTINGS that offer sessions.
    pub(super) fn h3_settings(&self) -> Vec<(u64, u64)> {
        let sessions = self.max_sessions as u64;
        let mut settings = vec![(SETTING_ENABLE_DRAFT02, 1), (SETTING_MAX_SESSIONS_DRAFT07, sessions)];
        if self.drafts == Drafts::All {
            let limits = self.limits();
            settings.extend([
                (SETTING_MAX_SESSIONS_DRAFT13, sessions),
                (SETTING_ENABLED_DRAFT15, 1),
                (SETTING_INITIAL_MAX_DATA, limits.data),
                (SETTING_INITIAL_MAX_STREAMS_BIDI, limits.bidi),
                (SETTING_INITIAL_MAX_STREAMS_UNI, limits.uni),
            ]);
        }
        settings
    }

    /// Streams of each kind that a connection needs for its sessions.
    pub(super) fn needed_streams(&self) -> u64 {
        if self.is_on() { self.max_streams } else { 0 }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        #[cfg(feature = "webtransport")]
        self.allow_origins.iter().try_for_each(|origin| check_origin(origin))?;
        check::streams("webtransport.max_streams", self.max_streams)?;
        check::bytes("webtransport.initial_max_data", self.initial_max_data)?;
        check::at_least_one("webtransport.max_sessions", self.max_sessions)?;
        check::at_least_one("webtransport.max_session_streams", self.max_session_streams)
    }
}

/// An origin is what its URL serialises to.
#[cfg(feature = "webtransport")]
fn check_origin(origin: &str) -> Result<(), ConfigError> {
    let serialized = serialize(origin).filter(|_| !origin.contains('*'));
    if origin == "*" || serialized.as_ref().is_some_and(|serialized| serialized.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let with_scheme = || Some(origin).filter(|text| !text.contains(['/', '*']) && *text != "null");
    let proposal = serialized.or_else(|| serialize(&format!("https://{}", with_scheme()?)));
    let proposal = proposal.unwrap_or_else(|| "SCHEME://HOST or SCHEME://HOST:PORT, or * for any".to_owned());
    Err(ConfigError::Origin { origin: origin.to_owned(), proposal })
}

/// The origin of a URL with a host. Those of other schemes than the web's, as browser extensions have them, are opaque to
/// `url` and not to browsers.
#[cfg(feature = "webtransport")]
fn serialize(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    if url.origin().is_tuple() {
        return Some(url.origin().ascii_serialization());
    }
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_drafts_limit_sessions() {
        let mut config = WebTransportConfig::default();
        assert!(!config.limits().any());
        assert_eq!(config.h3_settings(), [(SETTING_ENABLE_DRAFT02, 1), (SETTING_MAX_SESSIONS_DRAFT07, 16)]);
        config.drafts = Drafts::All;
        assert_eq!(config.limits(), SessionLimits { data: 16 << 20, bidi: 1000, uni: 1000 });
        assert_eq!(config.h3_settings().len(), 7);
    }

    #[test]
    fn streams_are_needed_only_for_sessions() {
        let mut config = WebTransportConfig::default();
        assert_eq!(config.needed_streams(), 0);
        config.enabled = true;
        assert_eq!(config.needed_streams(), if cfg!(feature = "webtransport") { 1000 } else { 0 });
        config.allowed = false;
        assert_eq!(config.needed_streams(), 0);
    }

    #[test]
    fn wrong_settings_are_named() {
        let config = WebTransportConfig { max_streams: 0, ..WebTransportConfig::default() };
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "webtransport.max_streams is 0, but must be 1 to 2^60 streams");
    }

    #[cfg(feature = "webtransport")]
    #[test]
    fn an_origin_that_no_page_has_is_named() {
        // M8
        let check = |origin: &str| {
            let config =
                WebTransportConfig { allow_origins: vec!["*".to_owned(), origin.to_owned()], ..Default::default() };
            config.check().err().map(|error| match error {
                ConfigError::Origin { proposal, .. } => proposal,
                error => error.to_string(),
            })
        };
        for origin in [
            "*",
            "https://example.com",
            "HTTPS://Example.com",
            "http://localhost:8080",
            "https://[::1]:4433",
            "http://127.0.0.1",
            "https://xn--lu-yta1h.example",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(check(origin), None, "{origin}");
        }
        let any = "SCHEME://HOST or SCHEME://HOST:PORT, or * for any";
        for (origin, proposal) in [
            ("example.com", "https://example.com"),
            ("localhost:8080", "https://localhost:8080"),
            ("https://example.com/", "https://example.com"),
            ("https://example.com/path", "https://example.com"),
            ("https://example.com?x", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:080", "http://example.com"),
            ("https://user@example.com", "https://example.com"),
            ("https://\u{17e}lu\u{165}.example", "https://xn--lu-yta1h.example"),
            ("https:example.com", "https://example.com"),
            (" https://example.com", "https://example.com"),
            ("https://127.1", "https://127.0.0.1"),
            ("null", any),
            ("", any),
            ("https://", any),
            ("//example.com", any),
            ("https://*.example.com", any),
            ("data:text/plain,x", any),
        ] {
            assert_eq!(check(origin).as_deref(), Some(proposal), "{origin}");
        }
        let config = WebTransportConfig { allow_origins: vec!["a.example".to_owned()], ..Default::default() };
        let told = "'a.example' in webtransport.allow_origins is not an origin: write https://a.example";
        assert_eq!(config.check().unwrap_err().to_string(), told);
    }
}
