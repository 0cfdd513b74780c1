//! Sessions of our client, with streams both ways.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::app::client::{ClientError, SessionOptions};
use crate::app::session::{Session, SessionHandler};
use crate::app::stream_handler::{Progress, StreamHandler};
use crate::endpoint::Stream;
use crate::error::Result;
use crate::h3::Recv;
use crate::transport::table::StreamId;
use crate::wt::SessionEnd;

/// Data received.
#[derive(Default)]
struct Log {
    /// On streams opened by the client.
    echoes: BTreeSet<Vec<u8>>,
    /// On streams opened by the server.
    answers: BTreeSet<Vec<u8>>,
    datagrams: usize,
    failed: Option<ClientError>,
    ended: Option<SessionEnd>,
}

type Shared = Rc<RefCell<Log>>;

/// Sends data on a stream, if there is any, and keeps received data.
struct Talk {
    unsent: Bytes,
    received: Vec<u8>,
    ours: bool,
    log: Shared,
}

impl StreamHandler for Talk {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if s.is_sending() && !s.finish_with(&mut self.unsent)? {
            return Ok(Progress::Pending);
        }
        if self.ours && !s.id().is_bidi() {
            return Ok(Progress::Done);
        }
        loop {
            match s.read_chunk(10_000)? {
                Recv::Data(chunk) => self.received.extend_from_slice(&chunk),
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => break,
            }
        }
        let mut log = self.log.borrow_mut();
        let kept = if self.ours { &mut log.echoes } else { &mut log.answers };
        kept.insert(std::mem::take(&mut self.received));
        Ok(Progress::Done)
    }
}

struct Talker(Shared);

impl Talker {
    fn talk(&self, ours: bool, text: Vec<u8>) -> Talk {
        Talk { unsent: text.into(), received: Vec::new(), ours, log: self.0.clone() }
    }
}

/// The content of the nth stream.
fn text(n: usize) -> Vec<u8> {
    format!("stream {n} ").repeat(1 + n * n).into_bytes()
}

impl SessionHandler for Talker {
    fn failed(&mut self, error: &ClientError) {
        self.0.borrow_mut().failed = Some(error.clone());
    }

    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        for n in 0..30 {
            let (bidi, uni) = (s.open_bidi()?, s.open_uni()?);
            s.run(bidi, self.talk(true, text(n)));
            s.run(uni, self.talk(true, text(n)));
            s.send_datagram(b"ping")?;
        }
        Ok(())
    }

    fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> Result<()> {
        assert_eq!(payload, b"ping".as_slice());
        self.0.borrow_mut().datagrams += 1;
        Ok(())
    }

    fn stream(&mut self, _: &mut Session<'_>, _: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        Ok(Some(Box::new(self.talk(false, b"and back".to_vec()))))
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        self.0.borrow_mut().ended = Some(end.clone());
    }
}

fn open(world: &mut World, path: &str) -> Shared {
    let log = Shared::default();
    let request = SessionOptions::new(&format!("https://localhost:4433{path}")).expect("a URL").into_request();
    world.clients[0].core.open_session(net::now(), request, Box::new(Talker(log.clone())));
    log
}

#[test]
fn streams_both_ways_under_loss_and_jitter() {
    let link = Link { loss: 4, jitter: Duration::from_millis(3), reorder: 5, duplicate: 2, ..Link::LAN };
    for seed in seeds() {
        let mut world = World::new(seed, link);
        world.client(|_| {});
        let log = open(&mut world, "/wt/echo?open=3");
        // A concurrent request uses another connection.
        let get = world.clients[0].get("https://localhost:4433/");
        world.run_until("all streams", |_| {
            let log = log.borrow();
            assert!(log.failed.is_none() && log.ended.is_none(), "{:?} {:?}", log.failed, log.ended);
            log.echoes.len() == 30 && log.answers.len() == 33 && get.borrow().end.is_some()
        });
        let texts: BTreeSet<_> = (0..30).map(text).collect();
        let greetings = (0..3).map(|n| format!("server stream {n}\nand back").into_bytes());
        let log_ = log.borrow();
        assert!(log_.echoes == texts);
        assert!(log_.answers == texts.iter().cloned().chain(greetings).collect());
        assert!(log_.datagrams <= 60, "{}", log_.datagrams);
        assert_eq!(get.borrow().result(), (200, None));
        drop(log_);
        world.servers[0].endpoint.close_sessions(net::now(), 7, "enough");
        world.run_until("the end", |_| log.borrow().ended.is_some());
        assert_eq!(log.borrow().ended.as_ref().map(|end| end.code), Some(7));
        world.run_until("quiet", |world| !world.clients[0].core.is_busy());
    }
}

#[test]
fn a_session_that_is_not_there_fails() {
    let mut world = World::new(1, Link { loss: 4, ..Link::LAN });
    world.client(|_| {});
    let log = open(&mut world, "/nowhere");
    world.run_until("the failure", |_| log.borrow().failed.is_some());
    let error = log.borrow().failed.as_ref().map(ToString::to_string);
    assert_eq!(error.as_deref(), Some("the server rejected the session with status 404 Not Found"));
    assert!(!world.clients[0].core.is_busy());
}

/// Closes its session at once, and says when that is over.
struct Brief(Rc<RefCell<bool>>);

impl SessionHandler for Brief {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        s.close(0, "");
        Ok(())
    }

    fn closed(&mut self, _: StreamId, _: &SessionEnd) {
        *self.0.borrow_mut() = true;
    }
}

/// Servers may close a connection whose session has ended.
#[test]
fn every_session_has_a_connection_of_its_own() {
    let mut world = World::new(1, Link::LAN);
    world.client(|_| {});
    for n in 1..=3 {
        let ended = Rc::new(RefCell::new(false));
        let request = SessionOptions::new("https://localhost:4433/wt/echo").expect("a URL").into_request();
        world.clients[0].core.open_session(net::now(), request, Box::new(Brief(ended.clone())));
        world.run_until("the end of the session", |_| *ended.borrow());
        assert_eq!(world.servers[0].endpoint.stats().connections, n);
    }
    world.run_until("the end of the connections", |world| world.servers[0].endpoint.connection_count() == 0);
}
