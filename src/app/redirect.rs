//! The redirect port: responds by HTTP/1.1 over TLS to clients that have not learned of HTTP/3 yet, or do not speak it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::config::{Certificate, tcp_context};
use crate::error::Result;
use crate::net::{Http1Answer, Http1Port, Http1Request, Http1Response, TlsContext};

/// The page: one self-contained file.
const PAGE: &str = include_str!("redirect_page.html");
/// How long clients remember the alternative service, in seconds: RFC 7838's default of a day.
const MAX_AGE: u32 = 86_400;

/// An open redirect port.
#[derive(Debug)]
pub(super) struct Redirect {
    port: Http1Port,
    tls: Tls,
}

/// Replaces the port's certificates.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    context: TlsContext,
    certificates: Vec<Certificate>,
}

impl Tls {
    /// Reads the certificates again, for new connections.
    ///
    /// # Errors
    /// A certificate that cannot be read; nothing changes.
    pub(super) fn reload(&self) -> Result<()> {
        let context = tcp_context(&self.certificates)?;
        // Nothing panics while it is locked.
        *self.context.lock().unwrap_or_else(PoisonError::into_inner) = context;
        Ok(())
    }
}

impl Redirect {
    /// Opens the port of a server at `server`, whose number it takes for port 0.
    ///
    /// # Errors
    /// An address that cannot be bound, or a certificate that cannot be read.
    pub(super) fn open(mut addr: SocketAddr, certificates: Vec<Certificate>, server: SocketAddr) -> Result<Self> {
        if addr.port() == 0 {
            addr.set_port(server.port());
        }
        let context = Arc::new(Mutex::new(tcp_context(&certificates)?));
        let response = response(server.port());
        let answer = move |_: &Http1Request<'_>| Http1Answer::Response(response.clone());
        let port = Http1Port::open("redirect", addr, Some(context.clone()), answer)?;
        Ok(Redirect { port, tls: Tls { context, certificates } })
    }

    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.port.local_addr()
    }
}

/// The response to every request: the version of HTTP is not supported, and which one is (RFC 9110 section 15.6.6).
fn response(port: u16) -> Http1Response {
    let fields = vec![
        ("alt-svc", format!("h3=\":{port}\"; ma={MAX_AGE}")),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'".to_owned()),
    ];
    let body = PAGE.replace("{port}", &port.to_string());
    let text = Http1Response::text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, body);
    Http1Response { content_type: "text/html; charset=utf-8", fields, ..text }
}
