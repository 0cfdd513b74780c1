//! Real logs for the tests: a quiche client and server in memory, each writing its qlog.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use quiche::h3::{self, NameValue};
use quiche::{Config, Connection};

/// Bytes of each response's body.
pub(super) const BODY_LEN: usize = 30_000;

/// Runs `requests` GETs over one connection and returns the client's and the server's log. Of the packets the server
/// sends after the handshake, the `lose`-th is lost (0: none).
pub(super) fn logs(dir: &Path, requests: usize, lose: usize) -> (PathBuf, PathBuf) {
    let (client_log, server_log) = (dir.join("client.sqlog"), dir.join("server.sqlog"));
    let client_addr: SocketAddr = "127.0.0.1:1111".parse().unwrap();
    let server_addr: SocketAddr = "127.0.0.1:4433".parse().unwrap();
    let mut client_config = config();
    client_config.verify_peer(false);
    let mut server_config = config();
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert_pem, key_pem) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert_pem, cert.cert.pem()).unwrap();
    std::fs::write(&key_pem, cert.signing_key.serialize_pem()).unwrap();
    server_config.load_cert_chain_from_pem_file(cert_pem.to_str().unwrap()).unwrap();
    server_config.load_priv_key_from_pem_file(key_pem.to_str().unwrap()).unwrap();

    let scid = |byte| quiche::ConnectionId::from_vec(vec![byte; 16]);
    let mut client =
        quiche::connect(Some("localhost"), &scid(0xc1), client_addr, server_addr, &mut client_config).unwrap();
    let mut server = quiche::accept(&scid(0x5e), None, server_addr, client_addr, &mut server_config).unwrap();
    let file = |path: &Path| Box::new(File::create(path).unwrap());
    client.set_qlog(file(&client_log), "client log".into(), "c1c1".into());
    server.set_qlog(file(&server_log), "server log".into(), "5e5e".into());

    while !(client.is_established() && server.is_established()) {
        carry(&mut client, &mut server, &mut 0);
        carry(&mut server, &mut client, &mut 0);
    }
    let h3_config = h3::Config::new().unwrap();
    let mut h3_client = h3::Connection::with_transport(&mut client, &h3_config).unwrap();
    let mut h3_server = h3::Connection::with_transport(&mut server, &h3_config).unwrap();
    for i in 0..requests {
        let path = format!("/file/{i}");
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", &path)];
        let fields: Vec<_> = fields.map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes())).to_vec();
        h3_client.send_request(&mut client, &fields, true).unwrap();
    }
    client.dgram_send(b"a datagram").unwrap();

    let mut left = lose;
    let mut finished = 0;
    let mut turns = 0;
    let mut pending: Vec<(u64, usize)> = Vec::new();
    let body = vec![b'x'; BODY_LEN];
    while finished < requests {
        turns += 1;
        assert!(turns < 1_000_000, "no progress");
        carry(&mut client, &mut server, &mut 0);
        while let Ok((stream, event)) = h3_server.poll(&mut server) {
            if let h3::Event::Headers { list, .. } = event {
                assert!(list.iter().any(|h| h.name() == b":path"));
                let fields = [h3::Header::new(b":status", b"200"), h3::Header::new(b"server", b"test")];
                h3_server.send_response(&mut server, stream, &fields, false).unwrap();
                pending.push((stream, 0));
            }
        }
        pending.retain_mut(|(stream, sent)| {
            *sent += h3_server.send_body(&mut server, *stream, &body[*sent..], true).unwrap_or(0);
            *sent < BODY_LEN
        });
        carry(&mut server, &mut client, &mut left);
        let mut buf = [0; 4096];
        while let Ok((stream, event)) = h3_client.poll(&mut client) {
            match event {
                h3::Event::Data => while h3_client.recv_body(&mut client, stream, &mut buf).is_ok() {},
                h3::Event::Finished => finished += 1,
                _ => {}
            }
        }
        client.on_timeout();
        if server.timeout().is_some_and(|t| t.is_zero()) {
            server.on_timeout();
        }
    }
    client.close(true, 0x100, b"done").unwrap();
    carry(&mut client, &mut server, &mut 0);
    for conn in [&mut client, &mut server] {
        while !conn.is_closed() {
            std::thread::sleep(conn.timeout().unwrap_or_default());
            conn.on_timeout();
        }
    }
    (client_log, server_log)
}

fn config() -> Config {
    let mut config = Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config.set_application_protos(h3::APPLICATION_PROTOCOL).unwrap();
    config.set_max_idle_timeout(5000);
    config.set_initial_max_data(10_000_000);
    config.set_initial_max_stream_data_bidi_local(1_000_000);
    config.set_initial_max_stream_data_bidi_remote(1_000_000);
    config.set_initial_max_stream_data_uni(1_000_000);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    config.enable_dgram(true, 10, 10);
    config
}

/// Transfers all packets of `from`. `lose` counts down to the packet that is lost.
fn carry(from: &mut Connection, to: &mut Connection, lose: &mut usize) {
    let mut buf = [0; 1500];
    while let Ok((len, info)) = from.send(&mut buf) {
        if *lose > 0 {
            *lose -= 1;
            if *lose == 0 {
                continue;
            }
        }
        let recv = quiche::RecvInfo { from: info.from, to: info.to };
        to.recv(&mut buf[..len], recv).unwrap();
    }
}
