//! `--resume-session`: TLS sessions in a file, by server.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use mio_quiche::{Client, net};

use super::failure::{Problem, READ, WRITE};
use super::replace::replace;
use crate::cli::input;

/// Time to wait for new tickets.
const TICKET_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Sessions {
    path: PathBuf,
    /// Tickets in base64, by `https://HOST:PORT`.
    tickets: BTreeMap<String, String>,
}

impl Sessions {
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let wrong = |why: String| {
            let hint = "remove it, or name another file";
            Problem::new(READ, format!("cannot read the sessions in '{}': {why} ({hint})", path.display()))
        };
        let tickets = match input::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?,
            Err(e) if e.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(wrong(e.to_string())),
        };
        Ok(Sessions { path: path.to_owned(), tickets })
    }

    pub(super) fn give_to(&self, client: &mut Client) {
        for (origin, ticket) in &self.tickets {
            // The file may contain invalid tickets: those are not resumed.
            if let Ok(ticket) = BASE64.decode(ticket.as_bytes()) {
                let _ = client.set_ticket(origin, ticket);
            }
        }
    }

    /// Keeps the sessions with these servers.
    pub(super) fn save(&mut self, client: &mut Client, origins: &[String]) -> Result<(), Problem> {
        let until = net::now() + TICKET_TIMEOUT;
        // A ticket should be used for one connection only (RFC 8446 appendix C.4), and some servers reject it the
        // second time. A response to 0-RTT may arrive before the next ticket.
        let fresh = |client: &Client, before: &BTreeMap<String, String>, origin: &String| {
            let ticket = client.ticket(origin).ok().flatten().map(|ticket| BASE64.encode(&ticket));
            ticket.filter(|ticket| before.get(origin) != Some(ticket))
        };
        while client.endpoint().connection_count() > 0
            && origins.iter().any(|origin| fresh(client, &self.tickets, origin).is_none())
            && net::now() < until
        {
            client.turn(Some(until))?;
        }
        for origin in origins {
            if let Some(ticket) = fresh(client, &self.tickets, origin) {
                self.tickets.insert(origin.clone(), ticket);
            }
        }
        let failed = |e: std::io::Error| {
            Problem::new(WRITE, format!("cannot keep sessions in '{}': {e} (--resume-session)", self.path.display()))
        };
        replace(&self.path, &serde_json::to_string(&self.tickets).unwrap_or_default()).map_err(failed)
    }
}
