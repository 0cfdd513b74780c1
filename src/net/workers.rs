//! Datagrams that the kernel gave to the wrong worker. It does when it has joined datagrams of several connections (GRO), or
//! cannot be told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::socket::Datagram;
use super::waker::Waker;
use crate::transport::steering::worker_of;

/// Datagrams that wait for one worker.
const CAPACITY: usize = 1024;

/// The workers of a server, and what waits for each.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Inbox>);

#[derive(Debug, Default)]
struct Inbox {
    queue: Mutex<VecDeque<Moved>>,
    /// There is something in the queue.
    is_filled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

#[derive(Debug)]
struct Moved {
    data: Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workers {
    pub(crate) fn new(count: u8) -> Self {
        Workers((0..count).map(|_| Inbox::default()).collect())
    }

    /// Tells how to wake a worker.
    pub(super) fn set_waker(&self, index: u8, waker: Waker) {
        if let Some(inbox) = self.0.get(usize::from(index)) {
            *lock(&inbox.waker) = Some(waker);
        }
    }

    /// The worker that a datagram is for, if it is not `index`.
    pub(super) fn other_for(&self, datagram: &[u8], index: u8) -> Option<u8> {
        // At most 255: the constructor's argument.
        Some(worker_of(datagram, self.0.len() as u8)).filter(|worker| *worker != index)
    }

    /// Passes a datagram to another worker; drops it if too many wait.
    pub(super) fn pass(&self, index: u8, datagram: Datagram<'_>) {
        let Some(inbox) = self.0.get(usize::from(index)) else { return };
        let Datagram { data, from, to } = datagram;
        {
            let queue = &mut *lock(&inbox.queue);
            if queue.len() >= CAPACITY {
                return;
            }
            queue.push_back(Moved { data: data.to_vec(), from, to });
        }
        if !inbox.is_filled.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*lock(&inbox.waker)
            && let Err(e) = waker.wake()
        {
            log::debug!("worker {index} cannot be woken: {e}");
        }
    }

    /// Passes everything that waits for a worker to `each`.
    pub(super) fn take(&self, index: u8, mut each: impl FnMut(&mut [u8], SocketAddr, SocketAddr)) {
        let Some(inbox) = self.0.get(usize::from(index)) else { return };
        if !inbox.is_filled.load(Ordering::Relaxed) || !inbox.is_filled.swap(false, Ordering::AcqRel) {
            return;
        }
        let all = std::mem::take(&mut *lock(&inbox.queue));
        for Moved { mut data, from, to } in all {
            each(&mut data, from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::Endpoint;
    use crate::net::{EventLoop, UdpSocket, now};
    use crate::turn::DatagramIo;

    fn group(addr: &str, count: u8) -> Vec<UdpSocket> {
        UdpSocket::bind_group(addr.parse().unwrap(), 65536, count).unwrap()
    }

    /// A datagram with a short header and an id that ends with `last`.
    fn short(last: u8) -> Vec<u8> {
        [&[0x40][..], &[9; 15], &[last], &[1; 20]].concat()
    }

    /// What arrives at a socket until it has `count` datagrams: the last bytes of the ids.
    fn arrivals(socket: UdpSocket, count: usize) -> Vec<u8> {
        let mut event_loop = EventLoop::new(socket, false).unwrap();
        let (deadline, mut found) = (now() + Duration::from_secs(10), Vec::new());
        while found.len() < count && now() < deadline {
            event_loop.wait(now(), Some(deadline)).unwrap();
            event_loop.receive_each(|d| found.push(d.data[16]));
        }
        found
    }

    #[test]
    fn the_kernel_steers_by_the_id_from_whatever_address() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let sockets = group(addr, 3);
            let to = sockets[0].local_addr();
            for last in 0..30 {
                let from = std::net::UdpSocket::bind((to.ip(), 0)).unwrap();
                from.send_to(&short(last), to).unwrap();
            }
            for (index, socket) in sockets.into_iter().enumerate() {
                let own: Vec<u8> = (0..30).filter(|last| usize::from(last % 3) == index).collect();
                assert_eq!(arrivals(socket, own.len()), own, "{addr}");
            }
        }
    }

    #[test]
    fn a_handle_of_a_socket_keeps_its_place() {
        let mut sockets = group("127.0.0.1:0", 2);
        let to = sockets[0].local_addr();
        let again = sockets[0].try_clone().unwrap();
        sockets[0] = again;
        let from = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for last in 0..4 {
            from.send_to(&short(last), to).unwrap();
        }
        let found: Vec<_> = sockets.into_iter().map(|socket| arrivals(socket, 2)).collect();
        assert_eq!(found, [[0, 2], [1, 3]]);
    }

    #[test]
    fn the_loop_of_the_right_worker_gets_what_arrives_at_another() {
        let certificates = vec![crate::app::cert::DevCert::generate(&[]).unwrap().certificate()];
        let workers = Arc::new(Workers::new(2));
        let mut both: Vec<_> = (0..2)
            .map(|index| {
                let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 65536).unwrap();
                let mut event_loop = EventLoop::new(socket, false).unwrap();
                event_loop.join(Arc::clone(&workers), index);
                let config = crate::ServerConfig::new(certificates.clone());
                (event_loop, Endpoint::server(config, now(), crate::net::wall_clock()).unwrap())
            })
            .collect();
        let from = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for last in 0..5 {
            from.send_to(&short(last), both[0].0.local_addr()).unwrap();
        }
        let deadline = now() + Duration::from_secs(10);
        while both.iter().map(|(_, endpoint)| endpoint.stats().datagrams_in).ne([3, 2]) {
            assert!(now() < deadline);
            for (event_loop, endpoint) in &mut both {
                event_loop.wait(now(), Some(now() + Duration::from_millis(1))).unwrap();
                event_loop.receive(now(), endpoint);
            }
        }
    }

    #[test]
    fn a_datagram_at_the_wrong_worker_is_passed_on_and_wakes_it() {
        let workers = Workers::new(2);
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 65536).unwrap();
        let mut event_loop = EventLoop::new(socket, false).unwrap();
        workers.set_waker(1, event_loop.waker());
        assert_eq!((workers.other_for(&short(4), 0), workers.other_for(&short(5), 0)), (None, Some(1)));
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        for n in 0..CAPACITY + 5 {
            workers.pass(1, Datagram { data: &mut short(n as u8), from, to });
        }
        let wakeup = event_loop.wait(now(), Some(now() + Duration::from_secs(10))).unwrap();
        assert!(wakeup.waker);
        let take = |index| {
            let mut found = Vec::new();
            workers.take(index, |data, from, to| found.push((data[16], from, to)));
            found
        };
        assert_eq!(take(0), []);
        let taken = take(1);
        assert_eq!((taken.len(), taken[3]), (CAPACITY, (3, from, to)));
        assert_eq!(take(1), []);
    }
}
