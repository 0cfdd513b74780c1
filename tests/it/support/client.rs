//! A small blocking client on quiche that can also send what no decent client would.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quiche::h3::{self, NameValue};

use super::{DEADLINE, IDLE_TIMEOUT, frames};

/// What came back on a request stream.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Field sections as they came: informational ones, the final one, trailers.
    pub(crate) heads: Vec<Vec<(String, String)>>,
    pub(crate) body: Vec<u8>,
    /// Position in the order in which streams finished.
    pub(crate) finished: Option<usize>,
    pub(crate) reset: Option<u64>,
}

impl Answer {
    /// The final status; 0 before it came.
    pub(crate) fn status(&self) -> u16 {
        let statuses = self.heads.iter().filter_map(|head| head.iter().find(|(name, _)| name == ":status"));
        statuses.map(|(_, value)| value.parse().unwrap()).find(|status| *status >= 200).unwrap_or(0)
    }

    /// A field of any section.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.heads.iter().flatten().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection. Time passes, and packets move, only within its calls.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    local: SocketAddr,
    pub(crate) quic: quiche::Connection,
    pub(crate) h3: Option<h3::Connection>,
    pub(crate) streams: BTreeMap<u64, Answer>,
    pub(crate) goaway: Option<u64>,
    /// Bodies are read as they come; false leaves them to flow control.
    pub(crate) reading: bool,
    finished: usize,
    next_raw: u64,
}

/// quiche's settings for a client that takes any certificate.
pub(crate) fn config() -> quiche::Config {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config.verify_peer(false);
    config.set_application_protos(&[b"h3"]).unwrap();
    config.set_max_idle_timeout(1000 * IDLE_TIMEOUT.parse::<u64>().unwrap());
    config.set_max_recv_udp_payload_size(65_527);
    config.set_initial_max_data(256 << 20);
    config.set_initial_max_stream_data_bidi_local(64 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_uni(10);
    config
}

impl Client {
    /// A finished handshake with HTTP/3 on it.
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, config())
    }

    pub(crate) fn connect_with(addr: SocketAddr, config: quiche::Config) -> Self {
        let mut client = Self::handshake(addr, config);
        let h3 = h3::Connection::with_transport(&mut client.quic, &h3::Config::new().unwrap());
        client.h3 = Some(h3.unwrap());
        client.flush();
        client
    }

    /// A finished handshake without HTTP/3: not even a control stream.
    pub(crate) fn handshake(addr: SocketAddr, config: quiche::Config) -> Self {
        let mut client = Self::begin(addr, config);
        client.until("the handshake", |c| c.quic.is_established().then_some(()));
        client
    }

    /// A connection of which nothing was sent yet.
    pub(crate) fn begin(addr: SocketAddr, mut config: quiche::Config) -> Self {
        let socket = UdpSocket::bind(if addr.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
        socket.connect(addr).unwrap();
        let local = socket.local_addr().unwrap();
        let mut scid = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut scid).unwrap();
        let scid = quiche::ConnectionId::from_ref(&scid);
        let quic = quiche::connect(Some("localhost"), &scid, local, addr, &mut config).unwrap();
        // Far beyond what the tests open through quiche::h3, within the 100 streams that the server allows.
        let next_raw = 4 * 50;
        let streams = BTreeMap::new();
        Client { socket, local, quic, h3: None, streams, goaway: None, reading: true, finished: 0, next_raw }
    }

    /// The packets that quiche wants to send now, instead of sending them.
    pub(crate) fn take_packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut buf = [0; 1500];
        loop {
            match self.quic.send(&mut buf) {
                Ok((n, _)) => packets.push(buf[..n].to_vec()),
                Err(quiche::Error::Done) => return packets,
                Err(e) => panic!("quiche cannot send: {e}"),
            }
        }
    }

    /// Sends what there is to send.
    pub(crate) fn flush(&mut self) {
        for packet in self.take_packets() {
            self.send_datagram(&packet);
        }
    }

    /// Sends any datagram from this client's address. A server that is gone is no failure.
    pub(crate) fn send_datagram(&self, packet: &[u8]) {
        match self.socket.send(packet) {
            Err(e) if e.kind() != ErrorKind::ConnectionRefused => panic!("cannot send: {e}"),
            _ => {}
        }
    }

    /// Runs the connection until `check` gives something.
    pub(crate) fn until<T>(&mut self, what: &str, mut check: impl FnMut(&mut Client) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.poll_h3();
            self.flush();
            if let Some(found) = check(self) {
                self.flush();
                return found;
            }
            assert!(!self.quic.is_closed(), "{what}: closed, peer {:?}", self.quic.peer_error());
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}; streams {}", self.brief());
            self.receive(Duration::from_millis(20));
        }
    }

    /// The streams in short: for messages.
    fn brief(&self) -> String {
        let brief = |(id, a): (&u64, &Answer)| {
            format!("{id}: {} {} bytes, finished {:?}, reset {:?}", a.status(), a.body.len(), a.finished, a.reset)
        };
        self.streams.iter().map(brief).collect::<Vec<_>>().join("; ")
    }

    /// Waits for datagrams for at most `wait`, and runs timers.
    fn receive(&mut self, wait: Duration) {
        let wait = self.quic.timeout().unwrap_or(wait).min(wait).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut buf = [0; 65_536];
        let info = quiche::RecvInfo { from: self.socket.peer_addr().unwrap(), to: self.local };
        for round in 0..64 {
            self.socket.set_nonblocking(round > 0).unwrap();
            match self.socket.recv(&mut buf) {
                Ok(n) => {
                    // Refused packets show in the connection's state.
                    let _ = self.quic.recv(&mut buf[..n], info);
                }
                Err(_) => break,
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        if self.quic.timeout().is_some_and(|left| left.is_zero()) {
            self.quic.on_timeout();
        }
    }

    fn poll_h3(&mut self) {
        let Some(h3) = &mut self.h3 else { return };
        let mut buf = vec![0; 65_536];
        loop {
            let (id, event) = match h3.poll(&mut self.quic) {
                Ok(got) => got,
                // The state of the connection tells about errors.
                Err(_) => return,
            };
            if matches!(event, h3::Event::GoAway) {
                self.goaway = Some(id);
                continue;
            }
            let answer = self.streams.entry(id).or_default();
            match event {
                h3::Event::Headers { list, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    answer.heads.push(list.iter().map(|f| (text(f.name()), text(f.value()))).collect());
                }
                h3::Event::Data if self.reading => {
                    while let Ok(n) = h3.recv_body(&mut self.quic, id, &mut buf) {
                        answer.body.extend_from_slice(&buf[..n]);
                    }
                }
                h3::Event::Finished => {
                    answer.finished = Some(self.finished);
                    self.finished += 1;
                }
                h3::Event::Reset(code) => answer.reset = Some(code),
                _ => {}
            }
        }
    }

    /// Sends a request through quiche::h3, waiting for stream credit if need be.
    pub(crate) fn request(&mut self, spec: &str, fin: bool) -> u64 {
        let fields: Vec<_> = frames::fields(spec).into_iter().map(|(n, v)| h3::Header::new(n, v)).collect();
        self.until("room for a request", |c| {
            let h3 = c.h3.as_mut().expect("HTTP/3 runs");
            match h3.send_request(&mut c.quic, &fields, fin) {
                Ok(id) => Some(id),
                Err(h3::Error::StreamBlocked | h3::Error::TransportError(quiche::Error::StreamLimit)) => None,
                Err(e) => panic!("cannot send a request: {e}"),
            }
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> u64 {
        self.request(&get(path), true)
    }

    /// Sends body bytes, all of them.
    pub(crate) fn send_body(&mut self, id: u64, data: &[u8], fin: bool) {
        let mut left = data;
        self.until("room for a body", |c| {
            let h3 = c.h3.as_mut().expect("HTTP/3 runs");
            match h3.send_body(&mut c.quic, id, left, fin) {
                Ok(n) => left = &left[n..],
                Err(h3::Error::Done) => {}
                Err(e) => panic!("cannot send a body on stream {id}: {e}"),
            }
            left.is_empty().then_some(())
        });
    }

    /// Opens a request stream with these bytes on it, without quiche::h3's knowledge.
    pub(crate) fn raw_stream(&mut self, bytes: &[u8], fin: bool) -> u64 {
        let id = self.next_raw;
        self.next_raw += 4;
        self.raw_send(id, bytes, fin);
        id
    }

    /// Writes bytes to a stream past quiche::h3.
    pub(crate) fn raw_send(&mut self, id: u64, bytes: &[u8], fin: bool) {
        let mut left = bytes;
        self.until("room for raw bytes", |c| {
            match c.quic.stream_send(id, left, fin) {
                Ok(n) => left = &left[n..],
                Err(quiche::Error::Done) => return None,
                Err(e) => panic!("cannot write to stream {id}: {e}"),
            }
            left.is_empty().then_some(())
        });
    }

    /// Waits for the whole answer.
    pub(crate) fn answer(&mut self, id: u64) -> Answer {
        self.until(&format!("the answer on stream {id}"), |c| {
            let answer = c.streams.get(&id)?;
            assert_eq!(answer.reset, None, "stream {id} was reset");
            answer.finished?;
            c.streams.remove(&id)
        })
    }

    /// Waits for the stream's reset and gives its code.
    pub(crate) fn reset_code(&mut self, id: u64) -> u64 {
        self.until(&format!("the reset of stream {id}"), |c| {
            let answer = c.streams.get(&id)?;
            assert_eq!(answer.finished, None, "stream {id} finished with status {}", answer.status());
            answer.reset
        })
    }

    /// Waits until the server closes the connection and gives its code and whether that is an application's.
    pub(crate) fn close_code(&mut self) -> (bool, u64) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(error) = self.quic.peer_error() {
                return (error.is_app, error.error_code);
            }
            assert!(Instant::now() < deadline, "the server does not close the connection; {}", self.brief());
            self.poll_h3();
            self.flush();
            self.receive(Duration::from_millis(20));
        }
    }

    /// The connection works: an ordinary request has its ordinary answer.
    pub(crate) fn assert_alive(&mut self) {
        let id = self.get("/");
        let answer = self.answer(id);
        assert_eq!((answer.status(), answer.text()), (200, "Hello, HTTP/3!\n"));
    }
}

/// The fields of a GET.
pub(crate) fn get(path: &str) -> String {
    format!(":method GET|:scheme https|:authority localhost|:path {path}")
}

/// The fields of a POST.
pub(crate) fn post(path: &str) -> String {
    format!(":method POST|:scheme https|:authority localhost|:path {path}")
}
