//! Clients and their sessions used by other threads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bytes::Bytes;
use mio_quiche::{Client, ClientHandle, PostError, Result, Session, SessionHandle, SessionHandler, SessionOptions};

use super::insecure;
use crate::support::DEADLINE;
use crate::support::server::Server;

/// A client in a thread, until something is sent or the sender goes.
fn running() -> (ClientHandle, Sender<()>, thread::JoinHandle<()>) {
    let (shown, handle) = channel();
    let (sender, stop) = channel::<()>();
    let thread = thread::spawn(move || {
        let mut client: Client = insecure();
        shown.send(client.handle()).unwrap();
        while stop.try_recv().is_err() {
            client.turn(None).unwrap();
        }
    });
    (handle.recv().unwrap(), sender, thread)
}

#[test]
fn another_thread_makes_requests() {
    let server = Server::start(&[]);
    let (handle, stop, thread) = running();
    let answers: Vec<Receiver<u16>> = [200, 404, 503]
        .into_iter()
        .map(|status| {
            let (sender, answer) = channel();
            let url = server.url(&format!("/status/{status}"));
            let call = move |client: &mut Client| sender.send(client.get(&url).unwrap().status.as_u16()).unwrap();
            handle.post(call).unwrap();
            answer
        })
        .collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(statuses, [200, 404, 503]);
    stop.send(()).unwrap();
    handle.post(|_| {}).unwrap();
    thread.join().unwrap();
    assert_eq!(handle.post(|_| {}), Err(PostError::Closed));
}

/// Shows its handle and what comes.
struct Shown {
    handle: Sender<SessionHandle>,
    datagrams: Sender<Bytes>,
    woken: Sender<()>,
}

impl SessionHandler for Shown {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.handle.send(s.handle()).unwrap();
        Ok(())
    }

    fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> Result<()> {
        self.datagrams.send(payload).unwrap();
        Ok(())
    }

    fn woken(&mut self, _: &mut Session<'_>) -> Result<()> {
        self.woken.send(()).unwrap();
        Ok(())
    }
}

#[test]
fn another_thread_uses_a_session_of_a_client() {
    let server = Server::start(&["--allow-origin", "*"]);
    let (client, stop, thread) = running();
    let ((shown, handle), (datagrams, echoes), (woken, wake_ups)) = (channel(), channel(), channel());
    let options = SessionOptions::new(&server.url("/wt/echo")).unwrap();
    let open = move |client: &mut Client| client.open_session(options, Shown { handle: shown, datagrams, woken });
    client.post(open).unwrap();
    let session = handle.recv_timeout(DEADLINE).unwrap();
    session.send_datagram("there and back").unwrap();
    assert_eq!(echoes.recv_timeout(DEADLINE).unwrap(), "there and back");
    session.wake().unwrap();
    wake_ups.recv_timeout(DEADLINE).unwrap();
    session.close(0, "").unwrap();
    stop.send(()).unwrap();
    client.post(|_| {}).unwrap();
    thread.join().unwrap();
    assert!(session.is_closed());
    assert_eq!(session.wake(), Err(PostError::Closed));
}
