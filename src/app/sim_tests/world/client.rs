//! Our client on a simulated socket, with a resolver of known names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::socket::Socket;
use crate::app::client::{ClientCore, ClientError, ClientRequest, ResponseHandler};
use crate::app::sim_tests::our_client_config;
use crate::app::stream_handler::Progress;
use crate::config::ClientConfig;
use crate::endpoint::{Endpoint, Stream};
use crate::error::Result;
use crate::h3::{Recv, ResponseHead};
use crate::net;
use crate::turn::turn;

pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) core: ClientCore,
    pub(crate) socket: Socket,
    /// The addresses of hosts, whatever the port.
    pub(crate) hosts: HashMap<String, Vec<SocketAddr>>,
}

/// The outcome of a request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Times that it was sent again with its body.
    pub(crate) restarts: u32,
    pub(crate) end: Option<std::result::Result<(), ClientError>>,
}

impl Outcome {
    /// The status, and how it failed.
    pub(crate) fn result(&self) -> (u16, Option<String>) {
        let error = match &self.end {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("not over".to_owned()),
        };
        (self.status, error)
    }
}

/// An outcome, while a handler fills it in.
pub(crate) type Shared = Rc<RefCell<Outcome>>;

struct Keep {
    body: Bytes,
    unsent: Bytes,
    outcome: Shared,
}

impl ResponseHandler for Keep {
    fn response(&mut self, _: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        let mut outcome = self.outcome.borrow_mut();
        (outcome.status, outcome.headers) = (head.status.as_u16(), head.headers.clone());
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if s.is_sending() {
            s.finish_with(&mut self.unsent)?;
        }
        loop {
            match s.read_chunk(64 * 1024)? {
                Recv::Data(chunk) => self.outcome.borrow_mut().body.extend_from_slice(&chunk),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }

    fn restart(&mut self) -> bool {
        self.unsent = self.body.clone();
        self.outcome.borrow_mut().restarts += 1;
        true
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        let before = self.outcome.borrow_mut().end.replace(result);
        assert!(before.is_none(), "a request ends once");
    }
}

impl Client {
    pub(super) fn new(at: SocketAddr, change: impl Fn(&mut ClientConfig)) -> Self {
        let mut config = our_client_config();
        change(&mut config);
        let endpoint = Endpoint::client(&config, net::now()).expect("a client");
        let core = ClientCore::new(&config, at, net::wall_clock(), || {});
        Client { endpoint, core, socket: Socket::new(at), hosts: HashMap::new() }
    }

    pub(crate) fn start(&mut self, request: ClientRequest, body: &[u8]) -> Shared {
        let outcome = Shared::default();
        let body = Bytes::copy_from_slice(body);
        let keep = Keep { unsent: body.clone(), body, outcome: outcome.clone() };
        self.core.start(net::now(), request, Box::new(keep));
        outcome
    }

    pub(crate) fn get(&mut self, url: &str) -> Shared {
        self.start(ClientRequest::get(url).expect("a URL"), b"")
    }

    pub(crate) fn post(&mut self, url: &str, body: &[u8]) -> Shared {
        let request = ClientRequest::new(http::Method::POST, url).expect("a URL");
        self.start(request.streamed_body(Some(body.len() as u64)), body)
    }

    /// One turn, as `Client::turn` runs it. Returns when the next one is due, besides the endpoint's timers.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Instant> {
        let Client { endpoint, core, socket, hosts } = self;
        let mut lending = core.lend(None);
        lending.with(now, endpoint, |core, cx| core.begin_turn(net::wall_clock(), cx));
        while let Some(question) = lending.core.poll_question() {
            let known = hosts.get(&question.host).cloned().ok_or_else(|| io::Error::other("no such name"));
            lending.with(now, endpoint, |core, cx| core.on_answer(question.id, known, cx));
        }
        turn(now, socket, endpoint, &mut lending).expect("no socket that fails");
        lending.with(now, endpoint, ClientCore::end_turn);
        core.next_timeout()
    }
}
