//! Settings by name.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::code::{MQ_ERR_CONFIG, Outcome, because};
use super::fields;
use super::state::Bounds;
use crate::config::{
    Certificate, ClientConfig, CongestionControl, Drafts, RetryPolicy, ServerConfig, TransportConfig,
    WebTransportConfig,
};

/// Settings that concern the interface, not the protocol.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The engine has a thread of its own.
    pub(super) threaded: bool,
    pub(super) bounds: Bounds,
}

/// The settings of a server.
#[derive(Debug)]
pub(super) struct ServerSettings {
    pub(super) listen: SocketAddr,
    pub(super) config: ServerConfig,
    pub(super) run: Run,
}

/// The settings of a client.
#[derive(Debug)]
pub(super) struct ClientSettings {
    pub(super) config: ClientConfig,
    pub(super) run: Run,
}

/// Certificates, whose two parts are two settings.
#[derive(Default)]
struct Certificates {
    list: Vec<Certificate>,
    chain: Option<Part>,
}

enum Part {
    File(PathBuf),
    Pem(Vec<u8>),
}

impl Certificates {
    /// Takes a setting of certificates; returns false for another one.
    fn take(&mut self, name: &str, value: &str) -> Outcome<bool> {
        match name {
            "cert_file" => self.chain = Some(Part::File(value.into())),
            "cert_pem" => self.chain = Some(Part::Pem(value.into())),
            "key_file" | "key_pem" => self.list.push(match (name, self.chain.take()) {
                ("key_file", Some(Part::File(chain))) => Certificate::from_files(chain, value),
                ("key_pem", Some(Part::Pem(chain))) => Certificate::from_pem(chain, value),
                _ => {
                    let form = name.trim_start_matches("key_");
                    return because(MQ_ERR_CONFIG, format!("{name} has no cert_{form} before it"));
                }
            }),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn end(self) -> Outcome<Vec<Certificate>> {
        match self.chain {
            None => Ok(self.list),
            Some(Part::File(_)) => because(MQ_ERR_CONFIG, "cert_file has no key_file behind it"),
            Some(Part::Pem(_)) => because(MQ_ERR_CONFIG, "cert_pem has no key_pem behind it"),
        }
    }
}

/// The settings of a server, from names and values.
pub(super) fn server(section: &[u8]) -> Outcome<ServerSettings> {
    let mut config = ServerConfig::new(Vec::new());
    config.handle_signals = false;
    config.webtransport.enabled = true;
    let mut listen = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], 0));
    let (mut run, mut certificates) = (Run::default(), Certificates::default());
    for (name, value) in texts(section)? {
        let (name, value) = (name?, value?);
        if certificates.take(name, value)?
            || run.take(name, value)?
            || transport(&mut config.transport, name, value)?
            || sessions(&mut config.webtransport, name, value)?
        {
            continue;
        }
        match name {
            "listen" => listen = parse(name, value)?,
            "client_ca" => config.client_ca = Some(value.into()),
            "ticket_key" => config.ticket_key = Some(value.into()),
            "host_key" => config.host_key = Some(value.into()),
            "shutdown_timeout" => config.shutdown_timeout = milliseconds(name, value)?,
            "retry" => {
                config.retry = match value {
                    "off" => RetryPolicy::Off,
                    "on" => RetryPolicy::On,
                    "auto" => RetryPolicy::Auto,
                    _ => return wrong(name, value, "off, on or auto"),
                }
            }
            "retry_threshold" => config.retry_threshold = parse(name, value)?,
            "retry_token_lifetime" => config.retry_token_lifetime = milliseconds(name, value)?,
            "max_connections" => config.max_connections = parse(name, value)?,
            "max_handshakes" => config.max_handshakes = parse(name, value)?,
            "request_timeout" => config.request_timeout = milliseconds(name, value)?,
            "max_request_rate" => config.max_request_rate = Some(parse(name, value)?),
            "max_request_body" => config.max_request_body = Some(parse(name, value)?),
            "max_fields" => config.request_limits.max_fields = parse(name, value)?,
            "max_name" => config.request_limits.max_name = parse(name, value)?,
            "max_value" => config.request_limits.max_value = parse(name, value)?,
            "max_field_section" => config.request_limits.max_field_section = parse(name, value)?,
            "max_target" => config.request_limits.max_target = parse(name, value)?,
            "allow_origin" => config.webtransport.allow_origins.push(value.to_owned()),
            _ => return unknown(name, "server"),
        }
    }
    config.certificates = certificates.end()?;
    Ok(ServerSettings { listen, config, run })
}

/// The settings of a client, from names and values.
pub(super) fn client(section: &[u8]) -> Outcome<ClientSettings> {
    let (mut config, mut is_insecure) = (ClientConfig::default(), false);
    let (mut run, mut certificates) = (Run::default(), Certificates::default());
    for (name, value) in texts(section)? {
        let (name, value) = (name?, value?);
        if certificates.take(name, value)?
            || run.take(name, value)?
            || transport(&mut config.transport, name, value)?
            || sessions(&mut config.webtransport, name, value)?
        {
            continue;
        }
        match name {
            "ca_file" => config.ca_file = Some(value.into()),
            "ca_dir" => config.ca_dir = Some(value.into()),
            "cert_hash" => {
                let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_bytes());
                match decoded.ok().and_then(|hash| <[u8; 32]>::try_from(hash).ok()) {
                    Some(hash) => config.cert_hashes.push(hash),
                    None => return wrong(name, value, "the SHA-256 hash of a certificate in hexadecimal"),
                }
            }
            "insecure" => is_insecure = boolean(name, value)?,
            "connect_timeout" => config.connect_timeout = milliseconds(name, value)?,
            "pool_idle_timeout" => config.pool_idle_timeout = milliseconds(name, value)?,
            "keep_alive" => config.keep_alive = Some(milliseconds(name, value)?),
            "max_redirects" => config.max_redirects = parse(name, value)?,
            "alt_svc" => config.alt_svc = boolean(name, value)?,
            "max_fields" => config.response_limits.max_fields = parse(name, value)?,
            "max_name" => config.response_limits.max_name = parse(name, value)?,
            "max_value" => config.response_limits.max_value = parse(name, value)?,
            "max_field_section" => config.response_limits.max_field_section = parse(name, value)?,
            _ => return unknown(name, "client"),
        }
    }
    if is_insecure {
        config.dangerous().accept_any_certificate();
    }
    let mut certificates = certificates.end()?;
    config.certificate = certificates.pop();
    match certificates.is_empty() {
        true => Ok(ClientSettings { config, run }),
        false => because(MQ_ERR_CONFIG, "a client has one certificate"),
    }
}

impl Run {
    fn take(&mut self, name: &str, value: &str) -> Outcome<bool> {
        /// The smallest bound of a queue that makes sense.
        const SMALLEST: usize = 64;
        match name {
            "thread" => self.threaded = boolean(name, value)?,
            "read_buffer" => self.bounds.read_buffer = parse(name, value)?,
            "write_buffer" => self.bounds.write_buffer = parse(name, value)?,
            "event_queue" => self.bounds.events = parse(name, value)?,
            _ => return Ok(false),
        }
        let Bounds { read_buffer, write_buffer, events } = self.bounds;
        match read_buffer.min(write_buffer).min(events) >= SMALLEST {
            true => Ok(true),
            false => wrong(name, value, "at least 64"),
        }
    }
}

fn transport(config: &mut TransportConfig, name: &str, value: &str) -> Outcome<bool> {
    match name {
        "idle_timeout" => config.idle_timeout = milliseconds(name, value)?,
        "handshake_timeout" => config.handshake_timeout = milliseconds(name, value)?,
        "initial_max_data" => config.initial_max_data = parse(name, value)?,
        "initial_max_stream_data" => config.initial_max_stream_data = parse(name, value)?,
        "max_connection_window" => config.max_connection_window = parse(name, value)?,
        "max_stream_window" => config.max_stream_window = parse(name, value)?,
        "max_streams_bidi" => config.max_streams_bidi = parse(name, value)?,
        "max_streams_uni" => config.max_streams_uni = parse(name, value)?,
        "max_udp_payload" => config.max_udp_payload = parse(name, value)?,
        "discover_pmtu" => config.discover_pmtu = boolean(name, value)?,
        "active_migration" => config.active_migration = boolean(name, value)?,
        "pacing" => config.pacing = boolean(name, value)?,
        "congestion_control" => {
            config.congestion_control = match value {
                "cubic" => CongestionControl::Cubic,
                "reno" => CongestionControl::Reno,
                "bbr2" => CongestionControl::Bbr2,
                _ => return wrong(name, value, "cubic, reno or bbr2"),
            }
        }
        "initial_congestion_window" => config.initial_congestion_window = parse(name, value)?,
        "datagram_queue" => config.datagram_queue = Some(parse(name, value)?).filter(|queue| *queue > 0),
        "grease" => config.grease = boolean(name, value)?,
        // The first one replaces the default.
        "alpn" if config.alpn == TransportConfig::server().alpn && value != "h3" => {
            config.alpn = vec![value.as_bytes().to_vec()];
        }
        "alpn" if config.alpn.iter().any(|known| known == value.as_bytes()) => {}
        "alpn" => config.alpn.push(value.as_bytes().to_vec()),
        "early_data" => config.early_data = boolean(name, value)?,
        #[cfg(feature = "qlog")]
        "qlog_dir" => config.qlog_dir = Some(value.into()),
        #[cfg(feature = "qlog")]
        "qlog_max" => config.qlog_max = Some(parse(name, value)?),
        "keylog" => config.keylog = Some(value.into()),
        "socket_buffer" => config.socket_buffer = parse(name, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn sessions(config: &mut WebTransportConfig, name: &str, value: &str) -> Outcome<bool> {
    match name {
        "webtransport" => config.enabled = boolean(name, value)?,
        "drafts" => {
            config.drafts = match value {
                "browsers" => Drafts::Browsers,
                "all" => Drafts::All,
                _ => return wrong(name, value, "browsers or all"),
            }
        }
        "max_sessions" => config.max_sessions = parse(name, value)?,
        "max_sessions_total" => config.max_sessions_total = parse(name, value)?,
        "max_session_streams" => config.max_session_streams = parse(name, value)?,
        "max_wt_streams" => config.max_streams = parse(name, value)?,
        "session_max_data" => config.initial_max_data = parse(name, value)?,
        "session_idle_timeout" => config.idle_timeout = Some(milliseconds(name, value)?),
        "session_linger" => config.linger = milliseconds(name, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

type Text<'a> = Outcome<&'a str>;

fn texts(section: &[u8]) -> Outcome<impl Iterator<Item = (Text<'_>, Text<'_>)>> {
    fn text(bytes: &[u8]) -> Text<'_> {
        std::str::from_utf8(bytes).or_else(|_| because(MQ_ERR_CONFIG, "a setting is not UTF-8"))
    }
    Ok(fields::pairs(section)?.map(|(name, value)| (text(name), text(value))))
}

fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Outcome<T> {
    value.parse().or_else(|error| because(MQ_ERR_CONFIG, format!("{name} is {value:?}: {error}")))
}

fn milliseconds(name: &str, value: &str) -> Outcome<Duration> {
    parse(name, value).map(Duration::from_millis)
}

fn boolean(name: &str, value: &str) -> Outcome<bool> {
    match value {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => wrong(name, value, "on or off"),
    }
}

fn wrong<T>(name: &str, value: &str, expected: &str) -> Outcome<T> {
    because(MQ_ERR_CONFIG, format!("{name} is {value:?}, but must be {expected}"))
}

fn unknown<T>(name: &str, role: &str) -> Outcome<T> {
    because(MQ_ERR_CONFIG, format!("a {role} has no setting {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(pairs: &[(&str, &str)]) -> Vec<u8> {
        pairs.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect()
    }

    #[test]
    fn settings_of_a_server_have_names() {
        let settings = server(&section(&[
            ("listen", "127.0.0.1:4433"),
            ("cert_file", "a.pem"),
            ("key_file", "a.key"),
            ("cert_pem", "PEM"),
            ("key_pem", "KEY"),
            ("idle_timeout", "1500"),
            ("congestion_control", "bbr2"),
            ("allow_origin", "https://a.example"),
            ("allow_origin", "https://b.example"),
            ("datagram_queue", "0"),
            ("alpn", "x"),
            ("alpn", "h3"),
            ("thread", "on"),
            ("read_buffer", "1000"),
        ]))
        .unwrap();
        assert_eq!(settings.listen, "127.0.0.1:4433".parse().unwrap());
        let config = settings.config;
        assert_eq!((config.certificates.len(), config.transport.idle_timeout.as_millis()), (2, 1500));
        assert_eq!(config.transport.congestion_control, CongestionControl::Bbr2);
        assert_eq!(config.webtransport.allow_origins, ["https://a.example", "https://b.example"]);
        assert_eq!((config.transport.datagram_queue, config.handle_signals), (None, false));
        assert_eq!(config.transport.alpn, [b"x".to_vec(), b"h3".to_vec()]);
        assert!(settings.run.threaded);
        assert_eq!((settings.run.bounds.read_buffer, settings.run.bounds.write_buffer), (1000, 256 * 1024));
    }

    #[test]
    fn settings_of_a_client_have_names() {
        let hash = "00".repeat(31) + "Ff";
        let settings = client(&section(&[("cert_hash", &hash), ("insecure", "off"), ("keep_alive", "9")])).unwrap();
        assert_eq!(settings.config.cert_hashes[0][31], 255);
        assert_eq!(settings.config.keep_alive, Some(Duration::from_millis(9)));
    }

    #[cfg(feature = "qlog")]
    #[test]
    fn qlog_files_are_limited_by_one_setting() {
        use crate::config::QlogMax;

        let limited = |value| match client(&section(&[("qlog_max", value)])) {
            Ok(settings) => Ok(settings.config.transport.qlog_max),
            Err(failure) => Err(failure.detail),
        };
        assert_eq!(limited("65536,7"), Ok(Some(QlogMax { bytes: 65_536, files: 7 })));
        assert_eq!(limited("1M"), Err("qlog_max is \"1M\": not a number of bytes".to_owned()));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (pairs, told) in [
            (&[("lisen", "1")][..], "a server has no setting \"lisen\""),
            (&[("listen", "here")], "listen is \"here\": invalid socket address syntax"),
            (&[("retry", "no")], "retry is \"no\", but must be off, on or auto"),
            (&[("grease", "2")], "grease is \"2\", but must be on or off"),
            (&[("max_connections", "-1")], "max_connections is \"-1\": invalid digit found in string"),
            (&[("key_file", "a")], "key_file has no cert_file before it"),
            (&[("cert_pem", "a"), ("key_file", "a")], "key_file has no cert_file before it"),
            (&[("cert_file", "a")], "cert_file has no key_file behind it"),
            (&[("event_queue", "63")], "event_queue is \"63\", but must be at least 64"),
            (&[("ca_file", "a")], "a server has no setting \"ca_file\""),
        ] {
            let failure = server(&section(pairs)).unwrap_err();
            assert_eq!((failure.code, failure.detail.as_str()), (MQ_ERR_CONFIG, told));
        }
        let told = client(&section(&[("cert_hash", "0")])).unwrap_err().detail;
        assert_eq!(told, "cert_hash is \"0\", but must be the SHA-256 hash of a certificate in hexadecimal");
        assert_eq!(client(&section(&[("listen", "[::]:1")])).unwrap_err().detail, "a client has no setting \"listen\"");
    }
}
