//! Sessions used by other threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::sessions::{Client, DRAFT02, options};
use super::*;
use crate::app::mailbox::CAPACITY;
use crate::app::{Router, Session, SessionHandle, SessionHandler};
use crate::error::{Error, PostError, Result};
use crate::transport::table::StreamId;
use crate::wire::capsule::{self, Capsule};
use crate::wt::SessionEnd;

/// Shows its handle, and counts how often it is woken.
#[derive(Clone, Default)]
struct Shown {
    handle: Arc<Mutex<Option<SessionHandle>>>,
    woken: Arc<AtomicUsize>,
    ended: Arc<Mutex<Vec<StreamId>>>,
}

impl SessionHandler for Shown {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        *self.handle.lock().expect("no panic") = Some(s.handle());
        Ok(())
    }

    fn woken(&mut self, s: &mut Session<'_>) -> Result<()> {
        if self.woken.fetch_add(1, Ordering::Relaxed) == 0 {
            s.send_datagram(b"woken")?;
        }
        Ok(())
    }

    fn closed(&mut self, id: StreamId, _: &SessionEnd) {
        self.ended.lock().expect("no panic").push(id);
    }
}

fn open() -> (Client, Shown, SessionHandle) {
    let shown = Shown::default();
    let handler = shown.clone();
    let router = Router::new().webtransport("/wt", move |req| req.accept(handler.clone()));
    let client = Client::open(Options { router, ..options(Network::default()) }, "/wt", &[DRAFT02]);
    let handle = shown.handle.lock().expect("no panic").clone().expect("a handle");
    (client, shown, handle)
}

fn assert_ended(client: &mut Client, handle: &SessionHandle) {
    client.run_until("the end", |_| handle.is_closed());
    assert_eq!(handle.wake(), Err(PostError::Closed));
    assert_eq!(client.sim.server.session_count(), 0);
}

#[test]
fn another_thread_sends_opens_wakes_and_closes() {
    let (mut client, shown, handle) = open();
    let large = payload(300_000);
    let sent = large.clone();
    let other = handle.clone();
    let all = move || {
        other.send_datagram("datagram").expect("room");
        other.send_datagram(vec![0; 100_000]).expect("room");
        other.send_stream("small").expect("room");
        other.send_stream(sent).expect("room");
        other.send_stream("").expect("room");
        other.wake().expect("room");
        let bidi = |s: &mut Session<'_>| {
            let id = s.open_bidi()?;
            s.run(id, crate::Echo::default());
            Ok(())
        };
        other.post(bidi).expect("room");
    };
    std::thread::spawn(all).join().expect("no panic");
    client.run_until("the streams", |c| {
        c.got.iter().filter(|(id, (_, fin))| **id & 3 == 3 && *fin).count() == 3 && c.got.contains_key(&1)
    });
    assert_eq!(client.answers(), [b"".to_vec(), large, b"small".to_vec()]);
    client.run_until("the datagrams", |c| c.datagrams.len() == 2);
    assert_eq!(client.datagrams.iter().map(Vec::as_slice).collect::<Vec<_>>(), [&b"datagram"[..], b"woken"]);
    assert_eq!(shown.woken.load(Ordering::Relaxed), 1);
    assert!(!handle.is_closed());

    handle.close(7, "enough").expect("room");
    client.run_until("the close", |c| c.is_whole(0));
    assert_eq!(client.capsules(), [Capsule::Close { code: 7, reason: "enough".to_owned() }]);
    assert_ended(&mut client, &handle);
}

#[test]
fn a_full_queue_is_an_error_of_the_sender() {
    let (mut client, shown, handle) = open();
    for _ in 0..CAPACITY {
        handle.wake().expect("room");
    }
    assert_eq!(handle.wake(), Err(PostError::Full));
    client.run_until("all of them", |_| shown.woken.load(Ordering::Relaxed) == CAPACITY);
    handle.wake().expect("room again");
    client.run_until("the last", |_| shown.woken.load(Ordering::Relaxed) == CAPACITY + 1);
}

#[test]
fn an_error_of_a_call_closes_the_session() {
    let (mut client, _, handle) = open();
    handle.post(|_| Err(Error::handler("no more"))).expect("room");
    assert_ended(&mut client, &handle);
}

#[test]
fn a_handle_learns_that_the_peer_closed() {
    let (mut client, shown, handle) = open();
    let mut close = Vec::new();
    capsule::put_close(&mut close, 3, "");
    client.capsule(&close, true);
    assert_ended(&mut client, &handle);
    assert_eq!(*shown.ended.lock().expect("no panic"), [handle.id()]);

    let (mut client, _, handle) = open();
    client.sim.client.close(true, 0x100, b"").expect("an open connection");
    // Posted before the server knows.
    handle.wake().expect("room");
    while !handle.is_closed() {
        client.sim.step();
    }
    assert_eq!(handle.wake(), Err(PostError::Closed));
    assert_eq!(shown.woken.load(Ordering::Relaxed), 0);
}
