//! What is shown during transfers: progress, and what `-v` tells.

use mio_quiche::ConnId;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Run;
use super::active::Active;
use super::body;
use super::host;
use super::transfer::Note;

impl Run {
    pub(super) fn show_progress(&mut self) {
        if !self.console.has_bar() || self.active.is_empty() {
            return;
        }
        let states: Vec<_> = self.active.iter().map(|active| active.state.borrow()).collect();
        let sent: u64 = states.iter().map(|state| state.sent).sum();
        let received: u64 = states.iter().map(|state| state.received).sum();
        let (done, length, message) = match sent > received {
            true => (sent, self.template.body.as_ref().and_then(body::Body::length), "up "),
            false if self.args.run.parallel => {
                let left: Option<u64> = states.iter().map(|state| state.length).sum();
                (self.done + received, left.filter(|_| self.queue.is_empty()).map(|left| self.done + left), "")
            }
            false => (received, states.first().and_then(|state| state.length), ""),
        };
        drop(states);
        self.console.progress(done, length, message);
    }

    /// False if there are none.
    pub(super) fn show_notes(&mut self, active: &Active) -> bool {
        let notes = std::mem::take(&mut active.state.borrow_mut().notes);
        if !self.options.verbose || notes.is_empty() {
            return false;
        }
        for note in notes {
            match note {
                Note::Text(text) => self.console.show(&text),
                Note::Sent => {
                    let conn = active.state.borrow().stream.map(|stream| stream.conn);
                    let facts = conn.map(|conn| self.facts(conn, &active.url)).unwrap_or_default();
                    let early = if active.state.borrow().early { "* sent in the first flight (0-RTT)\n" } else { "" };
                    self.console.show(&format!("{facts}{early}{}", active.head));
                }
            }
        }
        true
    }

    /// Describes the connection of a request.
    fn facts(&mut self, conn: ConnId, url: &str) -> String {
        let host = host(url).unwrap_or_default();
        let host = host.trim_start_matches("https://");
        let endpoint = self.client.endpoint();
        let Some(peer) = endpoint.peer_addr(conn) else { return String::new() };
        let address = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
        if !self.shown.insert(conn) {
            return format!("* using the connection to {host} ({address}) again\n");
        }
        let resumed = if endpoint.is_resumed(conn) { ", resumed" } else { "" };
        let mut text = format!("* connected to {host} ({address}): QUIC, TLS 1.3{resumed}, ALPN h3\n");
        if let Some(Ok((_, cert))) = endpoint.peer_certificate(conn).map(X509Certificate::from_der) {
            let (subject, issuer, until) = (cert.subject(), cert.issuer(), cert.validity().not_after);
            text += &format!("* certificate: {subject}; issued by {issuer}; valid until {until}\n");
        }
        text
    }
}
