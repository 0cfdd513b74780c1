//! A UDP relay that loses packets, with a seed that it prints.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Marsaglia's xorshift64.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Stands between one client and the server. Dropping it ends its threads.
pub(crate) struct Relay {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    passed: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Loses `percent` of the packets of each direction, chosen by `seed`.
    pub(crate) fn start(server: SocketAddr, percent: u64, seed: u64) -> Self {
        println!("relay: {percent} % loss, seed {seed}");
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(server).unwrap();
        for socket in [&front, &back] {
            let socket = socket2::SockRef::from(socket);
            // As much as the kernel gives: no losses but the chosen ones, if possible.
            let _ = socket.set_recv_buffer_size(8 << 20);
            let _ = socket.set_send_buffer_size(8 << 20);
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        }
        let addr = front.local_addr().unwrap();
        let (stop, passed, lost) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let client: Arc<std::sync::OnceLock<SocketAddr>> = Arc::default();
        let mut threads = Vec::new();
        for (seed, up) in [(seed, true), (seed ^ 0x9e37_79b9_7f4a_7c15, false)] {
            let (front, back) = (front.try_clone().unwrap(), back.try_clone().unwrap());
            let (stop, client) = (Arc::clone(&stop), Arc::clone(&client));
            let (passed, lost): (Arc<AtomicU64>, Arc<AtomicU64>) = (Arc::clone(&passed), Arc::clone(&lost));
            threads.push(std::thread::spawn(move || {
                let mut random = XorShift(seed);
                let mut buf = [0; 65_536];
                while !stop.load(Ordering::Relaxed) {
                    let got = if up { front.recv_from(&mut buf) } else { back.recv_from(&mut buf) };
                    // Nothing within the timeout, or the server is gone.
                    let Ok((len, from)) = got else { continue };
                    if up {
                        client.get_or_init(|| from);
                    }
                    if random.next() % 100 < percent {
                        lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    passed.fetch_add(1, Ordering::Relaxed);
                    // What the system refuses is lost as well.
                    let _ = match (up, client.get()) {
                        (true, _) => back.send(&buf[..len]),
                        (false, Some(client)) => front.send_to(&buf[..len], client),
                        (false, None) => continue,
                    };
                }
            }));
        }
        Relay { addr, stop, passed, lost, threads }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Packets that were lost and packets that were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.lost.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It panics for no reason of its own.
            let _ = thread.join();
        }
    }
}
