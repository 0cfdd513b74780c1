//! A UDP relay that loses packets, with a seed that it prints.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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

/// Stands between clients and the server. Dropping it ends its threads.
pub(crate) struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    front: UdpSocket,
    percent: u64,
    seed: u64,
    /// What the server sees as each client.
    backs: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    rebindings: AtomicU8,
    stop: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
}

fn socket(ip: Ipv4Addr, connect_to: Option<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
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
    /// Passes packets of all clients on to the server.
    fn up(self: &Arc<Self>) {
        let pass = |client, packet: &[u8]| self.back(client).send(packet);
        self.run(&self.front, self.percent, self.seed, pass);
    }

    /// What the server sees as this client.
    fn back(self: &Arc<Self>, client: SocketAddr) -> Arc<UdpSocket> {
        let mut backs = self.backs.lock().unwrap();
        let seed = self.seed.wrapping_add(backs.len() as u64) ^ 0x9e37_79b9_7f4a_7c15;
        let new = || self.new_back(client, Ipv4Addr::LOCALHOST, self.percent, seed);
        Arc::clone(backs.entry(client).or_insert_with(new))
    }

    /// A new port at `ip` for a client, from which packets are passed down.
    fn new_back(self: &Arc<Self>, client: SocketAddr, ip: Ipv4Addr, percent: u64, seed: u64) -> Arc<UdpSocket> {
        let back = Arc::new(socket(ip, Some(self.server)));
        let (shared, from) = (Arc::clone(self), Arc::clone(&back));
        let down = move || shared.run(&from, percent, seed, |_, packet| shared.front.send_to(packet, client));
        self.threads.lock().unwrap().push(std::thread::spawn(down));
        back
    }

    fn run(&self, from: &UdpSocket, percent: u64, seed: u64, pass: impl Fn(SocketAddr, &[u8]) -> io::Result<usize>) {
        let mut random = XorShift(seed);
        let mut buf = [0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            // Nothing within the timeout, or the server is gone.
            let Ok((len, sender)) = from.recv_from(&mut buf) else { continue };
            if random.next() % 100 < percent {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.passed.fetch_add(1, Ordering::Relaxed);
            // What the system refuses is lost as well.
            let _ = pass(sender, &buf[..len]);
        }
    }
}

impl Relay {
    /// Loses `percent` of the packets of each direction, chosen by `seed`.
    pub(crate) fn start(server: SocketAddr, percent: u64, seed: u64) -> Self {
        println!("relay: {percent} % loss, seed {seed}");
        let front = socket(Ipv4Addr::LOCALHOST, None);
        let addr = front.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            front,
            percent,
            seed,
            backs: Mutex::default(),
            threads: Mutex::default(),
            rebindings: AtomicU8::new(0),
            stop: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let up = Arc::clone(&shared);
        shared.threads.lock().unwrap().push(std::thread::spawn(move || up.up()));
        Relay { addr, shared }
    }

    /// From now on the server sees the clients at another IP address and other ports; what it still sends to the old ones arrives, too. (When
    /// it does not, a client that only receives has no reason to send, and the server no way to learn the port.)
    pub(crate) fn rebind(&self) {
        let ip = Ipv4Addr::new(127, 0, 1, self.shared.rebindings.fetch_add(1, Ordering::Relaxed));
        for (client, back) in self.shared.backs.lock().unwrap().iter_mut() {
            *back = self.shared.new_back(*client, ip, 0, 1);
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    fn next_thread(&self) -> Option<JoinHandle<()>> {
        let mut threads = self.shared.threads.lock().unwrap();
        (!threads.is_empty()).then(|| threads.remove(0))
    }

    /// Packets that were lost and packets that were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.lost.load(Ordering::Relaxed), self.shared.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The first of them starts the others.
        while let Some(thread) = self.next_thread() {
            // It panics for no reason of its own.
            let _ = thread.join();
        }
    }
}
