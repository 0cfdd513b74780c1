//! Topics, and streams and servers used by other threads.

use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::sessions::{Client, DRAFT02, options};
use super::*;
use crate::app::{Response, Router, Session, SessionHandle, SessionHandler, Slow, StreamHandle, Topic};
use crate::error::{PostError, Result};
use crate::h3::Request;
use crate::wire::capsule::Capsule;
use crate::{Progress, Stream};

/// Joins a topic, and shows its handle.
#[derive(Clone)]
struct Member {
    topic: Topic,
    history: usize,
    handle: Arc<Mutex<Option<SessionHandle>>>,
}

impl SessionHandler for Member {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        s.join(&self.topic, self.history);
        *self.handle.lock().expect("no panic") = Some(s.handle());
        Ok(())
    }
}

fn member(topic: &Topic, history: usize, queue: usize) -> (Client, SessionHandle) {
    let member = Member { topic: topic.clone(), history, handle: Arc::default() };
    let handle = Arc::clone(&member.handle);
    let router = Router::new().webtransport("/wt", move |req| req.accept(member.clone()));
    let mut options = Options { router, ..options(Network::default()) };
    options.server = Box::new(move |config| {
        config.webtransport.enabled = true;
        config.transport.datagram_queue = Some(queue);
    });
    let client = Client::open(options, "/wt", &[DRAFT02]);
    let handle = handle.lock().expect("no panic").clone().expect("a handle");
    (client, handle)
}

fn datagrams(client: &Client) -> Vec<&str> {
    client.datagrams.iter().map(|bytes| std::str::from_utf8(bytes).expect("text")).collect()
}

#[test]
fn a_session_gets_what_is_published_while_it_is_a_member() {
    let topic = Topic::new();
    topic.publish("1 too old");
    topic.publish("2 history");
    let (mut client, handle) = member(&topic, 1, 100);
    let publisher = topic.clone();
    let publish = move || (3..6).for_each(|n| publisher.publish(n.to_string()));
    std::thread::spawn(publish).join().expect("no panic");
    client.run_until("the messages", |c| c.datagrams.len() == 4);
    assert_eq!(datagrams(&client), ["2 history", "3", "4", "5"]);

    let left = topic.clone();
    topic.publish("6 on its way");
    let leave = move |s: &mut Session<'_>| {
        s.leave(&left);
        Ok(())
    };
    handle.post(leave).expect("room");
    handle.send_datagram("7").expect("room");
    client.run_until("the end of the membership", |c| c.datagrams.len() == 5);
    topic.publish("8 late");
    handle.send_datagram("9").expect("room");
    client.run_until("the last", |c| c.datagrams.len() == 6);
    assert_eq!(datagrams(&client)[4..], ["7", "9"]);
    assert_eq!(topic.members(), 0);

    let joined = topic.clone();
    let join_twice = move |s: &mut Session<'_>| {
        s.join(&joined, 0);
        s.join(&joined, 0);
        Ok(())
    };
    handle.post(join_twice).expect("room");
    client.run_until("the membership", |_| topic.members() == 1);
    handle.close(0, "").expect("room");
    client.run_until("the close", |c| c.is_whole(0));
    assert_eq!(topic.members(), 0);
    topic.publish("nobody");
}

#[test]
fn a_member_whose_datagrams_do_not_leave_misses_some_or_ends() {
    let publish = |topic: &Topic| (0..100).for_each(|n| topic.publish(n.to_string()));
    let topic = Topic::new();
    let (mut client, handle) = member(&topic, 0, 8);
    publish(&topic);
    client.run_until("the datagrams", |c| !c.datagrams.is_empty());
    handle.send_stream("").expect("room");
    client.run_until("the stream", |c| c.answers().len() == 1);
    assert!(client.datagrams.len() < 100);
    assert_eq!(topic.members(), 1);

    let topic = Topic::with(256, Slow::End);
    let (mut client, _) = member(&topic, 0, 8);
    publish(&topic);
    client.run_until("the close", |c| c.is_whole(0));
    assert_eq!(client.capsules(), [Capsule::Close { code: 1, reason: String::new() }]);
    assert_eq!(topic.members(), 0);
}

#[test]
fn a_stream_of_a_session_sends_a_topic() {
    let topic = Topic::new();
    topic.publish("first ");
    let (mut client, handle) = member(&topic, 0, 8);
    let fed = topic.clone();
    let feed = move |s: &mut Session<'_>| {
        let id = s.open_uni()?;
        s.feed(id, &fed, 100);
        Ok(())
    };
    handle.post(feed).expect("room");
    client.run_until("the membership", |_| topic.members() == 2);
    topic.publish("second ");
    topic.publish(payload(300_000));
    topic.close();
    topic.publish("too late");
    client.run_until("the end", |c| c.got.iter().any(|(id, (_, fin))| id & 3 == 3 && *fin));
    assert_eq!(client.answers(), [[b"first second ", &payload(300_000)[..]].concat()]);
    assert_eq!(topic.members(), 1);
}

fn feeding(topic: &Topic, history: usize) -> Sim {
    let topic = topic.clone();
    let feed = move |_: &Request, res: Response| res.event_stream().feed(&topic, history);
    Sim::connected(Options { router: Router::new().get("/events", feed), ..Options::default() })
}

#[test]
fn responses_send_a_topic_from_their_heads_on() {
    let topic = Topic::new();
    topic.publish("one ");
    topic.publish("two ");
    let mut sim = feeding(&topic, 1);
    let ids = [sim.get("/events"), sim.get("/events")];
    let head = sim.request("HEAD", "/events", &[], b"");
    sim.run_until("the heads", |sim| sim.answers.len() == 3 && sim.answers.values().all(|a| !a.heads.is_empty()));
    sim.run_until("the history", |sim| ids.iter().all(|id| sim.answers[id].body == b"two "));
    assert_eq!(sim.answers[&head].field("content-type"), Some("text/event-stream"));
    assert_eq!(sim.answers[&head].field("cache-control"), Some("no-cache"));
    assert_eq!(topic.members(), 2);
    sim.client.stream_shutdown(ids[0], quiche::Shutdown::Read, 0x10c).expect("an open stream");
    sim.run_until("one member", |_| topic.members() == 1);
    topic.publish("three ");
    topic.close();
    sim.run_until("the end", |sim| sim.answers[&ids[1]].finished);
    assert_eq!(sim.answers[&ids[1]].body, b"two three ");
    assert_eq!((topic.members(), sim.app.running()), (0, 0));
}

#[test]
fn a_shutdown_ends_responses_without_an_end() {
    let topic = Topic::new();
    let mut sim = feeding(&topic, 0);
    let id = sim.get("/events");
    sim.run_until("the membership", |_| topic.members() == 1);
    topic.publish("last");
    sim.server.shutdown();
    sim.app.drain(net::now(), &mut sim.server);
    topic.publish("too late");
    sim.run_until("the end", |sim| sim.answers.get(&id).is_some_and(|answer| answer.finished));
    assert_eq!(sim.answers[&id].body, b"last");
    assert_eq!((topic.members(), sim.app.running()), (0, 0));
}

/// A reader that stops while messages of 100 KB come.
fn stalled(slow: Slow) -> (Topic, Sim, u64) {
    let topic = Topic::with(4, slow);
    let mut sim = feeding(&topic, 0);
    let id = sim.get("/events");
    sim.run_until("the head", |sim| sim.answers.get(&id).is_some_and(|answer| !answer.heads.is_empty()));
    sim.reading = false;
    for n in 0..100u8 {
        topic.publish(vec![n; 100_000]);
        for _ in 0..20 {
            sim.step();
        }
    }
    (topic, sim, id)
}

#[test]
fn a_reader_that_stops_misses_whole_messages() {
    let (topic, mut sim, id) = stalled(Slow::Drop);
    assert_eq!(topic.members(), 1);
    topic.close();
    sim.reading = true;
    sim.run_until("the end", |sim| sim.answers[&id].finished);
    let messages: Vec<&[u8]> = sim.answers[&id].body.chunks(100_000).collect();
    assert!(messages.iter().all(|message| *message == vec![message[0]; 100_000]), "a message is not whole");
    let numbers: Vec<u8> = messages.iter().map(|message| message[0]).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.len() < 50, "{numbers:?}");
    assert_eq!(numbers[numbers.len() - 4..], [96, 97, 98, 99]);
}

#[test]
fn a_reader_that_stops_is_reset_where_a_topic_says_so() {
    let (topic, mut sim, id) = stalled(Slow::End);
    assert_eq!(topic.members(), 0);
    sim.reading = true;
    sim.run_until("the reset", |sim| sim.answers[&id].is_over());
    assert_eq!(sim.answers[&id].reset, Some(0x107));
}

#[test]
fn another_thread_feeds_a_handler() {
    let (kept, handles) = channel();
    let stream = move |_: &Request, res: Response| {
        let kept = kept.clone();
        res.stream_with(move |handle: StreamHandle| {
            let (sender, lines) = channel::<Bytes>();
            kept.send((handle, sender)).expect("the test");
            let mut line = Bytes::new();
            move |s: &mut Stream<'_>| {
                loop {
                    s.write_bytes(&mut line)?;
                    if !line.is_empty() {
                        return Ok(Progress::Pending);
                    }
                    line = match lines.try_recv() {
                        Ok(line) => line,
                        Err(TryRecvError::Empty) => return Ok(Progress::Pending),
                        Err(TryRecvError::Disconnected) => return Ok(Progress::Done),
                    };
                }
            }
        })
    };
    let panics = |_: &Request, res: Response| {
        res.stream_with(|_| -> fn(&mut Stream<'_>) -> Result<Progress> { panic!("no handler") })
    };
    let router = Router::new().get("/lines", stream).get("/panics", panics);
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    let (id, panicked) = (sim.get("/lines"), sim.get("/panics"));
    sim.run_until("the panic", |sim| sim.answers.get(&panicked).is_some_and(|answer| answer.finished));
    assert_eq!(sim.answers[&panicked].status(), "500");
    let (handle, sender) = handles.recv().expect("a handle");
    let large = payload(2_000_000);
    let sent = large.clone();
    let feed = move || {
        for line in [Bytes::from("line\n"), sent.into()] {
            sender.send(line).expect("the handler");
            handle.wake().expect("room");
        }
        drop(sender);
        handle.wake().expect("room");
        handle
    };
    let handle = std::thread::spawn(feed).join().expect("no panic");
    sim.run_until("the body", |sim| sim.answers[&id].finished);
    assert_eq!(sim.answers[&id].body, [b"line\n", &large[..]].concat());
    handle.wake().expect("a stream that has ended is not an error");
    drop(sim);
    assert_eq!(handle.wake(), Err(PostError::Closed));
}

/// Sends a datagram each time it is woken, `count` times.
struct Ticks(u8);

impl SessionHandler for Ticks {
    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        // Each replaces the one before.
        for millis in [600_000, 1, 20] {
            s.wake_at(s.now() + Duration::from_millis(millis));
        }
        Ok(())
    }

    fn woken(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.0 -= 1;
        s.send_datagram(&[self.0])?;
        if self.0 > 0 {
            s.wake_at(s.now() + Duration::from_millis(20));
        }
        Ok(())
    }
}

#[test]
fn a_session_is_woken_at_the_time_that_it_set() {
    let router = Router::new().webtransport("/wt", |req| req.accept(Ticks(3)));
    let mut options = Options { router, ..options(Network::default()) };
    options.server = Box::new(|config| {
        config.webtransport.enabled = true;
        config.webtransport.idle_timeout = Some(Duration::from_secs(2));
    });
    let began = net::now();
    let mut client = Client::open(options, "/wt", &[DRAFT02]);
    client.run_until("three ticks", |c| c.datagrams.len() == 3);
    assert!(elapsed(began) >= Duration::from_millis(60), "{:?}", elapsed(began));
    // The timer took nothing from the other one of the session.
    client.run_until("the end", |c| c.is_whole(0));
    assert_eq!(client.capsules(), [Capsule::Close { code: 0, reason: "idle timeout".to_owned() }]);
}

#[test]
fn another_thread_calls_the_server() {
    let (mut client, handle) = member(&Topic::new(), 0, 8);
    let mailbox = client.sim.app.mailbox().clone();
    let (sender, receiver) = channel();
    mailbox.post(Box::new(|_| panic!("logged"))).expect("room");
    let call = Box::new(move |server: &mut crate::ServerContext<'_>| {
        let ids = server.sessions();
        let close = |s: &mut Session<'_>| {
            s.close(5, "by the server");
            Ok(())
        };
        let found = ids.iter().filter(|id| server.with_session(**id, close)).count();
        sender.send((ids, found, server.stats().requests)).expect("the test");
    });
    mailbox.post(call).expect("room");
    client.run_until("the close", |c| c.is_whole(0));
    assert_eq!(client.capsules(), [Capsule::Close { code: 5, reason: "by the server".to_owned() }]);
    assert_eq!(receiver.recv(), Ok((vec![handle.id()], 1, 1)));
    assert_eq!(client.sim.app.panics().iter().collect::<Vec<_>>(), [("-", 1)]);
    drop(client);
    assert_eq!(mailbox.post(Box::new(|_| {})), Err(PostError::Closed));
}
