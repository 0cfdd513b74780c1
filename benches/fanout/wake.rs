//! Wake-ups: a server and a client in threads of this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::app::cert::DevCert;
use mio_quiche::{
    Client, ClientConfig, PostError, Router, Server, ServerConfig, Session, SessionHandle, SessionHandler,
    SessionOptions,
};

use crate::Result;

/// Shows its handle, counts how often it is woken, and answers a datagram with the time of its call.
struct Served {
    begun: Instant,
    handles: Sender<SessionHandle>,
    woken: Arc<AtomicU32>,
}

fn nanos(begun: Instant) -> [u8; 8] {
    (begun.elapsed().as_nanos() as u64).to_be_bytes()
}

impl SessionHandler for Served {
    fn opened(&mut self, s: &mut Session<'_>) -> mio_quiche::Result<()> {
        // The other side has ended only with the benchmark.
        let _ = self.handles.send(s.handle());
        Ok(())
    }

    fn datagram(&mut self, s: &mut Session<'_>, _: Bytes) -> mio_quiche::Result<()> {
        Ok(s.send_datagram(&nanos(self.begun))?)
    }

    fn woken(&mut self, _: &mut Session<'_>) -> mio_quiche::Result<()> {
        self.woken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Tells the time that each datagram took since its sender wrote it.
struct Timing {
    begun: Instant,
    took: Sender<Duration>,
    handles: Sender<SessionHandle>,
}

impl SessionHandler for Timing {
    fn opened(&mut self, s: &mut Session<'_>) -> mio_quiche::Result<()> {
        let _ = self.handles.send(s.handle());
        Ok(())
    }

    fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> mio_quiche::Result<()> {
        let sent = payload.as_ref().try_into().map_or(0, u64::from_be_bytes);
        let _ = self.took.send(self.begun.elapsed().saturating_sub(Duration::from_nanos(sent)));
        Ok(())
    }
}

pub(crate) fn run(count: u32, datagrams: u32) -> Result<()> {
    let begun = Instant::now();
    let woken = Arc::<AtomicU32>::default();
    let (served, servers) = channel();
    let dir = tempfile::tempdir()?;
    DevCert::generate(&[])?.write(dir.path())?;
    let config = ServerConfig::from_pem(dir.path().join("cert.pem"), dir.path().join("key.pem"))?;
    let (started, start) = channel();
    let counted = Arc::clone(&woken);
    thread::spawn(move || {
        let open = move |req: mio_quiche::SessionRequest<'_>| {
            req.accept(Served { begun, handles: served.clone(), woken: Arc::clone(&counted) })
        };
        let mut config = config;
        config.webtransport.allow_origins = vec!["*".to_owned()];
        let mut server = Server::bind("127.0.0.1:0", config, Router::new().webtransport("/", open))?;
        // The other side waits for it.
        let _ = started.send(server.local_addr());
        server.run()
    });
    let addr = start.recv()?;
    let (took, times) = channel();
    let (shown, clients) = channel();
    thread::spawn(move || {
        let mut config = ClientConfig::default();
        config.dangerous().accept_any_certificate();
        let mut client = Client::new(config)?;
        let options = SessionOptions::new(&format!("https://{addr}/")).map_err(mio_quiche::Error::handler)?;
        client.open_session(options, Timing { begun, took, handles: shown });
        client.run()
    });
    let (server, client) = (servers.recv()?, clients.recv()?);

    let before = Instant::now();
    let mut full = 0_u64;
    for _ in 0..count {
        while let Err(error) = server.wake() {
            match error {
                PostError::Full => full += 1,
                other => return Err(other.into()),
            }
            thread::yield_now();
        }
    }
    while woken.load(Ordering::Relaxed) < count {
        thread::yield_now();
    }
    let rate = f64::from(count) / before.elapsed().as_secs_f64();
    println!("{rate:.0} wake-ups/s from a thread, each handled ({full} found the queue full)");

    let by_thread = time(datagrams, &times, || server.send_datagram(nanos(begun).to_vec()))?;
    let by_loop = time(datagrams, &times, || client.send_datagram("go"))?;
    let [thread, own] = [&by_thread, &by_loop].map(|times| [50, 99].map(|p| times[times.len() * p / 100]));
    println!("a datagram of another thread: p50 {:.0} us, p99 {:.0} us", micros(thread[0]), micros(thread[1]));
    println!("a datagram of a handler:      p50 {:.0} us, p99 {:.0} us", micros(own[0]), micros(own[1]));
    println!("the wake-up costs:            p50 {:.0} us", micros(thread[0]) - micros(own[0]));
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The times of datagrams that are sent one after the other, sorted.
fn time(
    count: u32,
    times: &Receiver<Duration>,
    mut send: impl FnMut() -> std::result::Result<(), PostError>,
) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    for _ in 0..count {
        send()?;
        // Loopback loses none.
        all.push(times.recv_timeout(Duration::from_secs(5))?);
        // Lets the threads fall asleep.
        thread::sleep(Duration::from_micros(500));
    }
    all.sort();
    Ok(all)
}
