//! Two connections, and the hands that pass packets between them.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use quiche::{Config, Connection, ConnectionId, RecvInfo, h3};

/// Larger than any packet.
const PACKET: usize = 1500;

pub(crate) fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn client_addr() -> SocketAddr {
    addr(1000)
}

pub(crate) fn server_addr() -> SocketAddr {
    addr(4433)
}

/// A certificate and its key, both in PEM.
fn certificate() -> &'static (String, String) {
    static CERTIFICATE: OnceLock<(String, String)> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// Generous limits, and a short first round-trip time: the timers that tests wait for are some 30 ms.
pub(crate) fn config() -> Config {
    let (cert, key) = certificate();
    let dir = tempfile::tempdir().unwrap();
    let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert_path, cert).unwrap();
    std::fs::write(&key_path, key).unwrap();
    let mut config = Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config.load_cert_chain_from_pem_file(cert_path.to_str().unwrap()).unwrap();
    config.load_priv_key_from_pem_file(key_path.to_str().unwrap()).unwrap();
    config.set_application_protos(&[b"h3"]).unwrap();
    config.verify_peer(false);
    // A first flight of one packet.
    config.set_curves_list("X25519").unwrap();
    config.set_initial_rtt(Duration::from_millis(10));
    config.set_max_idle_timeout(60_000);
    config.set_initial_max_data(1 << 24);
    config.set_initial_max_stream_data_bidi_local(1 << 20);
    config.set_initial_max_stream_data_bidi_remote(1 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    config.enable_dgram(true, 100, 100);
    config.grease(false);
    config
}

/// One UDP datagram.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// Everything that a connection has to send now.
pub(crate) fn flight(conn: &mut Connection) -> Vec<Packet> {
    let mut packets = Vec::new();
    loop {
        let mut bytes = vec![0; PACKET];
        match conn.send(&mut bytes) {
            Ok((len, info)) => {
                bytes.truncate(len);
                packets.push(Packet { bytes, from: info.from, to: info.to });
            }
            Err(quiche::Error::Done) => return packets,
            Err(e) => panic!("quiche cannot send: {e}"),
        }
    }
}

/// Sleeps until the connection's next timer, and fires it.
pub(crate) fn time_out(conn: &mut Connection) {
    let left = conn.timeout().expect("a timer is armed");
    assert!(left < Duration::from_secs(5), "the next timer is {left:?} away");
    std::thread::sleep(left + Duration::from_millis(1));
    conn.on_timeout();
}

/// Fires the timers until only the idle timeout is left, or `n` times. What is sent meanwhile goes to `each`.
pub(crate) fn time_out_times(conn: &mut Connection, n: usize, mut each: impl FnMut(&mut Connection, Vec<Packet>)) {
    for _ in 0..n {
        if conn.timeout().is_none_or(|left| left > Duration::from_secs(5)) {
            return;
        }
        time_out(conn);
        let packets = flight(conn);
        each(conn, packets);
    }
}

pub(crate) struct Pair {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    /// The client's address as the server sees it, which a NAT on the way may change.
    pub(crate) seen_as: SocketAddr,
}

impl Pair {
    /// An established connection.
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    /// An established connection with settings of its own for each side.
    pub(crate) fn with(client: impl FnOnce(&mut Config), server: impl FnOnce(&mut Config)) -> Self {
        let mut pair = Self::unconnected(client, server, &[1; 16]);
        pair.pass();
        assert!(pair.client.is_established() && pair.server.is_established());
        pair
    }

    /// Before the first packet.
    pub(crate) fn unconnected(client: impl FnOnce(&mut Config), server: impl FnOnce(&mut Config), scid: &[u8]) -> Self {
        let (mut client_config, mut server_config) = (config(), config());
        client(&mut client_config);
        server(&mut server_config);
        Pair { client: connect(&mut client_config, scid), server: accept(&mut server_config), seen_as: client_addr() }
    }

    /// Passes packets until neither side has any.
    pub(crate) fn pass(&mut self) {
        loop {
            let (out, back) = (flight(&mut self.client), flight(&mut self.server));
            if out.is_empty() && back.is_empty() {
                return;
            }
            self.server_takes(out);
            self.client_takes(back);
        }
    }

    /// Loses what the client has to send now, and says how many packets that were.
    pub(crate) fn lose_from_client(&mut self) -> usize {
        flight(&mut self.client).len()
    }

    /// Loses what the server has to send now, and says how many packets that were.
    pub(crate) fn lose_from_server(&mut self) -> usize {
        flight(&mut self.server).len()
    }

    /// Passes what the client has to send now, and no answer.
    pub(crate) fn pass_to_server(&mut self) {
        let packets = flight(&mut self.client);
        self.server_takes(packets);
    }

    /// Passes what the server has to send now, and no answer.
    pub(crate) fn pass_to_client(&mut self) {
        let packets = flight(&mut self.server);
        self.client_takes(packets);
    }

    pub(crate) fn server_takes(&mut self, packets: Vec<Packet>) {
        for mut packet in packets {
            let info = RecvInfo { from: self.seen_as, to: packet.to };
            self.server.recv(&mut packet.bytes, info).unwrap();
        }
    }

    pub(crate) fn client_takes(&mut self, packets: Vec<Packet>) {
        for mut packet in packets {
            let info = RecvInfo { from: packet.from, to: client_addr() };
            self.client.recv(&mut packet.bytes, info).unwrap();
        }
    }

    /// Sends on a stream of the client's, and passes it, with all answers.
    pub(crate) fn client_sends(&mut self, stream: u64, data: &[u8], fin: bool) {
        assert_eq!(self.client.stream_send(stream, data, fin), Ok(data.len()));
        self.pass();
    }

    /// Sends on a stream of the server's, and passes it, with all answers.
    pub(crate) fn server_sends(&mut self, stream: u64, data: &[u8], fin: bool) {
        assert_eq!(self.server.stream_send(stream, data, fin), Ok(data.len()));
        self.pass();
    }
}

pub(crate) fn connect(config: &mut Config, scid: &[u8]) -> Connection {
    let scid = ConnectionId::from_ref(scid);
    quiche::connect(Some("localhost"), &scid, client_addr(), server_addr(), config).unwrap()
}

pub(crate) fn accept(config: &mut Config) -> Connection {
    quiche::accept(&ConnectionId::from_ref(&[2; 16]), None, server_addr(), client_addr(), config).unwrap()
}

/// Everything that can be read on a stream now, and whether it ended with that.
pub(crate) fn read(conn: &mut Connection, stream: u64) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match conn.stream_recv(stream, &mut buf) {
            Ok((n, fin)) => {
                all.extend_from_slice(&buf[..n]);
                if fin {
                    return (all, true);
                }
            }
            Err(quiche::Error::Done) => return (all, false),
            Err(e) => panic!("stream {stream} cannot be read: {e}"),
        }
    }
}

/// Whether quiche has freed a stream that both directions of had been opened.
pub(crate) fn is_collected(conn: &mut Connection, stream: u64) -> bool {
    conn.stream_capacity(stream) == Err(quiche::Error::InvalidStreamState(stream))
}

/// A pair with HTTP/3 on it.
pub(crate) struct Http3 {
    pub(crate) pair: Pair,
    pub(crate) client: h3::Connection,
    pub(crate) server: h3::Connection,
}

impl Http3 {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(client: impl FnOnce(&mut Config), server: impl FnOnce(&mut Config)) -> Self {
        let mut pair = Pair::with(client, server);
        let config = h3::Config::new().unwrap();
        let client = h3::Connection::with_transport(&mut pair.client, &config).unwrap();
        let server = h3::Connection::with_transport(&mut pair.server, &config).unwrap();
        let mut http3 = Http3 { pair, client, server };
        http3.pair.pass();
        assert_eq!(http3.poll_client(), None);
        assert_eq!(http3.poll_server(), None);
        http3
    }

    pub(crate) fn request(&mut self, fin: bool) -> u64 {
        let stream = self.client.send_request(&mut self.pair.client, &request(), fin).unwrap();
        self.pair.pass();
        stream
    }

    /// The next event, where there is one.
    pub(crate) fn poll_client(&mut self) -> Option<(u64, h3::Event)> {
        event(self.client.poll(&mut self.pair.client))
    }

    /// The next event, where there is one.
    pub(crate) fn poll_server(&mut self) -> Option<(u64, h3::Event)> {
        event(self.server.poll(&mut self.pair.server))
    }
}

fn event(polled: h3::Result<(u64, h3::Event)>) -> Option<(u64, h3::Event)> {
    match polled {
        Ok(event) => Some(event),
        Err(h3::Error::Done) => None,
        Err(e) => panic!("HTTP/3 error: {e}"),
    }
}

pub(crate) fn request() -> Vec<h3::Header> {
    let fields: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")];
    fields.map(|(name, value)| h3::Header::new(name, value)).to_vec()
}

pub(crate) fn response() -> Vec<h3::Header> {
    vec![h3::Header::new(b":status", b"200")]
}

pub(crate) fn is_headers(event: Option<(u64, h3::Event)>) -> bool {
    matches!(event, Some((_, h3::Event::Headers { .. })))
}
