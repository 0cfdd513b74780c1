//! Looks hosts up on separate threads, because the system's resolver blocks.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::Waker;
use crate::config::Resolver;

/// Concurrent look-ups; others wait.
const MAX_THREADS: usize = 8;

/// The id of a question, and its result.
type Answer = (u64, io::Result<Vec<SocketAddr>>);

#[derive(Debug)]
struct Question {
    id: u64,
    host: String,
    port: u16,
}

/// The look-ups of a client. Each answer wakes the event loop.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Option<Resolver>,
    waker: Waker,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    waiting: VecDeque<Question>,
    running: usize,
}

impl Lookups {
    pub(crate) fn new(resolver: Option<Resolver>, waker: Waker) -> Self {
        let (sender, answers) = channel();
        Lookups { resolver, waker, sender, answers, waiting: VecDeque::new(), running: 0 }
    }

    /// Begins to look a host up; `id` identifies the answer.
    pub(crate) fn start(&mut self, id: u64, host: String, port: u16) {
        self.waiting.push_back(Question { id, host, port });
        self.go_on();
    }

    /// The next answer: the addresses in the resolver's order, or an error.
    pub(crate) fn next_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.running -= 1;
        self.go_on();
        Some(answer)
    }

    fn go_on(&mut self) {
        while self.running < MAX_THREADS
            && let Some(question) = self.waiting.pop_front()
        {
            self.running += 1;
            let id = question.id;
            if let Err(e) = self.ask(question) {
                // `next_answer` returns it in this turn or the next; cannot fail, as the receiver is a field.
                let _ = self.sender.send((id, Err(e)));
                let _ = self.waker.wake();
            }
        }
    }

    fn ask(&self, question: Question) -> io::Result<()> {
        let (resolver, sender, waker) = (self.resolver.clone(), self.sender.clone(), self.waker.clone());
        let thread = thread::Builder::new().name("lookup".to_owned());
        thread.spawn(move || {
            let Question { id, host, port } = question;
            let answer = look_up(resolver.as_ref(), &host, port);
            // Fails when the client has been dropped.
            if sender.send((id, answer)).is_ok() {
                let _ = waker.wake();
            }
        })?;
        Ok(())
    }
}

fn look_up(resolver: Option<&Resolver>, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match resolver {
        Some(resolver) => resolver.look_up(host, port),
        None => Ok((host, port).to_socket_addrs()?.collect()),
    }
}

/// Looks a host up, by `resolver` or by the system, and returns its addresses in the form for a socket bound to
/// `local`, IPv6 and IPv4 in turn (RFC 8305 section 4). Blocks.
///
/// # Errors
/// The resolver's error, or an error if none of the addresses can be used.
pub fn resolve(
    resolver: Option<&Resolver>,
    host: &str,
    port: u16,
    local: SocketAddr,
) -> io::Result<VecDeque<SocketAddr>> {
    let literal = host.parse().map(|ip: IpAddr| vec![SocketAddr::new(ip, port)]);
    reachable(literal.or_else(|_| look_up(resolver, host, port))?, local)
}

/// In the form that [`resolve`] returns.
pub(crate) fn reachable(all: Vec<SocketAddr>, local: SocketAddr) -> io::Result<VecDeque<SocketAddr>> {
    let (v6, v4): (Vec<_>, Vec<_>) = all.into_iter().partition(SocketAddr::is_ipv6);
    let mut addresses = VecDeque::new();
    for n in 0..v6.len().max(v4.len()) {
        // Without IPv6 in the system those are unreachable.
        addresses.extend(v6.get(n).filter(|_| local.is_ipv6()));
        addresses.extend(v4.get(n).map(|addr| mapped(*addr, local)));
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "no usable address")),
        false => Ok(addresses),
    }
}

/// An IPv4 address in the form for an IPv6 socket (RFC 4291 section 2.5.5.2).
fn mapped(addr: SocketAddr, local: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if local.is_ipv6() => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        _ => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;
    use crate::net::{EventLoop, UdpSocket};

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn families_take_turns_as_the_socket_can_reach_them() {
        let all = vec![addr("[2001:db8::1]:1"), addr("[2001:db8::2]:1"), addr("192.0.2.1:1")];
        let both = reachable(all.clone(), addr("[::]:9")).unwrap();
        assert_eq!(both, [addr("[2001:db8::1]:1"), addr("[::ffff:192.0.2.1]:1"), addr("[2001:db8::2]:1")]);
        assert_eq!(reachable(all.clone(), addr("0.0.0.0:9")).unwrap(), [addr("192.0.2.1:1")]);
        let none = reachable(all[..2].to_vec(), addr("0.0.0.0:9")).unwrap_err();
        assert_eq!(none.to_string(), "no usable address");
    }

    #[test]
    fn a_few_at_a_time_and_each_answer_wakes_the_loop() {
        let socket = UdpSocket::bind(addr("127.0.0.1:0"), 65536).unwrap();
        let mut event_loop = EventLoop::new(socket, false).unwrap();
        let gate = Arc::new((Mutex::new((0, 0, false)), Condvar::new()));
        let theirs = gate.clone();
        let resolver = Resolver::new(move |host, port| {
            let (state, changed) = &*theirs;
            let mut state = state.lock().unwrap();
            state.0 += 1;
            state.1 = state.0.max(state.1);
            changed.notify_all();
            let mut state = changed.wait_while(state, |state| !state.2).unwrap();
            state.0 -= 1;
            match host {
                "bad" => Err(io::Error::other("no such name")),
                _ => Ok(vec![SocketAddr::new(IpAddr::from([192, 0, 2, 1]), port)]),
            }
        });
        let mut lookups = Lookups::new(Some(resolver), event_loop.waker());
        for n in 0..20 {
            lookups.start(n, if n == 19 { "bad" } else { "good" }.to_owned(), n as u16);
        }
        let (state, changed) = &*gate;
        let mut all_ask = changed.wait_while(state.lock().unwrap(), |state| state.0 < MAX_THREADS).unwrap();
        assert!(lookups.next_answer().is_none());
        all_ask.2 = true;
        changed.notify_all();
        drop(all_ask);
        let mut answers = Vec::new();
        while answers.len() < 20 {
            let woken = event_loop.wait(crate::net::now(), None).unwrap();
            assert!(woken.waker || woken == Default::default());
            while let Some((id, answer)) = lookups.next_answer() {
                answers.push((id, answer.map(|all| all[0].port()).map_err(|e| e.to_string())));
            }
        }
        answers.sort_by_key(|(id, _)| *id);
        let expected = (0..20).map(|n| (n, if n == 19 { Err("no such name".to_owned()) } else { Ok(n as u16) }));
        assert_eq!(answers, expected.collect::<Vec<_>>());
        assert_eq!(state.lock().unwrap().1, MAX_THREADS, "never more at a time");
    }
}
