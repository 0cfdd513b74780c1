//! A UDP relay that loses packets, with a seed that it prints.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Different each run; the relay prints it, and `MIO_QUICHE_SEED` sets it.
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::env::var("MIO_QUICHE_SEED").map_or(since.as_nanos() as u64 | 1, |seed| seed.parse().unwrap())
}

/// Stands between one client and the server. Dropping it ends its threads.
pub(crate) struct Relay {
    addr: SocketAddr,
    server: SocketAddr,
    shared: Arc<Shared>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

struct Shared {
    front: UdpSocket,
    /// What the server sees as the client.
    back: Mutex<Arc<UdpSocket>>,
    client: OnceLock<SocketAddr>,
    stop: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
}

fn socket(connect_to: Option<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // As much as the kernel gives: no losses but the chosen ones, if possible.
    let buffers = socket2::SockRef::from(&socket);
    let _ = buffers.set_recv_buffer_size(8 << 20);
    let _ = buffers.set_send_buffer_size(8 << 20);
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    if let Some(server) = connect_to {
        socket.connect(server).unwrap();
    }
    socket
}

impl Shared {
    fn back(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.back.lock().unwrap())
    }

    /// Passes packets on: up to the server, or down from the port that it sees.
    fn run(&self, down: Option<&UdpSocket>, percent: u64, seed: u64) {
        let mut random = XorShift(seed);
        let mut buf = [0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let got = down.unwrap_or(&self.front).recv_from(&mut buf);
            // Nothing within the timeout, or the server is gone.
            let Ok((len, from)) = got else { continue };
            if down.is_none() {
                self.client.get_or_init(|| from);
            }
            if random.next() % 100 < percent {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.passed.fetch_add(1, Ordering::Relaxed);
            // What the system refuses is lost as well.
            let _ = match (down, self.client.get()) {
                (None, _) => self.back().send(&buf[..len]),
                (Some(_), Some(client)) => self.front.send_to(&buf[..len], client),
                (Some(_), None) => continue,
            };
        }
    }
}

impl Relay {
    /// Loses `percent` of the packets of each direction, chosen by `seed`.
    pub(crate) fn start(server: SocketAddr, percent: u64, seed: u64) -> Self {
        println!("relay: {percent} % loss, seed {seed}");
        let front = socket(None);
        let addr = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            front,
            back: Mutex::new(Arc::new(socket(Some(server)))),
            client: OnceLock::new(),
            stop: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let up = Arc::clone(&shared);
        let up = std::thread::spawn(move || up.run(None, percent, seed));
        let relay = Relay { addr, server, shared, threads: RefCell::new(vec![up]) };
        relay.spawn_down(percent, seed ^ 0x9e37_79b9_7f4a_7c15);
        relay
    }

    fn spawn_down(&self, percent: u64, seed: u64) {
        let (shared, back) = (Arc::clone(&self.shared), self.shared.back());
        self.threads.borrow_mut().push(std::thread::spawn(move || shared.run(Some(&back), percent, seed)));
    }

    /// From now on the server sees the client at another port; what it still sends to the old one arrives, too. (When
    /// it does not, a client that only receives has no reason to send, and the server no way to learn the port.)
    pub(crate) fn rebind(&self) {
        *self.shared.back.lock().unwrap() = Arc::new(socket(Some(self.server)));
        self.spawn_down(0, 1);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Packets that were lost and packets that were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.lost.load(Ordering::Relaxed), self.shared.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.get_mut().drain(..) {
            // It panics for no reason of its own.
            let _ = thread.join();
        }
    }
}
