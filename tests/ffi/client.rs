//! Clients: what goes wrong, and QUIC datagrams.

use mio_quiche::ffi::*;

use crate::abi::{Engine, cert, last_error, ok, section};

#[test]
fn failures_have_a_code_and_a_sentence() {
    let mut client = Engine::client(&[("connect_timeout", "2000")]);
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", port.local_addr().unwrap());
    let id = client.get(&url);
    let failed = client.next_of(MQ_EVENT_FAILED, id);
    assert_eq!(failed.code, u64::from(MQ_ERR_TIMEOUT.unsigned_abs()), "{failed:?}");
    assert!(failed.text().contains("no answer within 2 s"), "{failed:?}");
    drop(port);
    let id = client.get(&url);
    let failed = client.next_of(MQ_EVENT_FAILED, id);
    assert_eq!(failed.code, u64::from(MQ_ERR_CONNECT.unsigned_abs()), "{failed:?}");
    let session = client.connect("https://name.invalid/", &[]);
    assert_eq!(client.next_of(MQ_EVENT_FAILED, session).code, u64::from(MQ_ERR_RESOLVE.unsigned_abs()));
}

#[test]
fn certificates_are_checked_by_authority_or_hash() {
    let mut server = Engine::server(&[]);
    let new = |settings: &[(&str, &str)]| Engine::client(&[&[("insecure", "off")], settings].concat());
    let mut strict = new(&[]);
    let id = strict.get(&server.url("/"));
    let failed = strict.next_of(MQ_EVENT_FAILED, id);
    assert_eq!(failed.code, u64::from(MQ_ERR_CERTIFICATE.unsigned_abs()), "{failed:?}");
    let hash = mio_quiche::app::cert::CertInfo::of(&cert().certificate()).unwrap().sha256_hex();
    let mut pinned = new(&[("cert_hash", &hash)]);
    let id = pinned.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(server.respond(request.id, 200, &[], b"", MQ_FLAG_END));
    let response = pinned.next_of(MQ_EVENT_RESPONSE, id);
    assert_eq!((response.code, response.flags), (200, MQ_FLAG_END));
}

#[test]
fn a_request_that_is_given_up_is_cancelled() {
    let (mut server, client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(mq_release(client.handle, id));
    assert_eq!(server.next_of(MQ_EVENT_STOPPED, request.id).code, 0x10c);
}

#[test]
fn a_redirect_is_followed_as_often_as_the_setting_says() {
    let mut server = Engine::server(&[]);
    for (max, last) in [("0", 302), ("1", 200)] {
        let mut client = Engine::client(&[("max_redirects", max)]);
        let id = client.get(&server.url("/old"));
        let request = server.next(MQ_EVENT_REQUEST);
        ok(server.respond(request.id, 302, &[("location", "/new")], b"", MQ_FLAG_END));
        if last == 200 {
            let request = server.next(MQ_EVENT_REQUEST);
            assert_eq!(request.field(":path").as_deref(), Some("/new"));
            ok(server.respond(request.id, 200, &[], b"here", MQ_FLAG_END));
        }
        assert_eq!(client.next_of(MQ_EVENT_RESPONSE, id).code, last);
    }
}

#[test]
fn quic_datagrams_cross_on_a_connection_without_http() {
    let mut server = Engine::server(&[("alpn", "echo")]);
    let mut client = Engine::client(&[("alpn", "echo")]);
    let (url, mut id) = (server.url("/"), 0);
    // SAFETY: everything is there.
    ok(unsafe { mq_open_datagrams(client.handle, url.as_ptr(), url.len(), &mut id) });
    client.next_of(MQ_EVENT_CONNECTED, id);
    // SAFETY: as above.
    ok(unsafe { mq_send_quic_datagram(client.handle, id, b"ping".as_ptr(), 4) });
    let connection = server.next(MQ_EVENT_CONNECTED).id;
    let datagram = server.next(MQ_EVENT_QUIC_DATAGRAM);
    assert_eq!((datagram.id, &datagram.data[..]), (connection, &b"ping"[..]));
    // SAFETY: as above.
    ok(unsafe { mq_send_quic_datagram(server.handle, connection, b"pong".as_ptr(), 4) });
    assert_eq!(client.next_of(MQ_EVENT_QUIC_DATAGRAM, id).data, b"pong");
    // SAFETY: as above.
    ok(unsafe { mq_close_connection(server.handle, connection, 7, b"bye".as_ptr(), 3) });
    let closed = client.next_of(MQ_EVENT_CLOSED, id);
    assert_eq!((closed.flags, closed.code), (MQ_FLAG_APPLICATION | MQ_FLAG_BY_PEER, 7));
    assert!(closed.text().ends_with("(bye)"), "{closed:?}");
    server.next_of(MQ_EVENT_CLOSED, connection);
}

#[test]
fn http_datagrams_belong_to_a_request() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.request("POST", &server.url("/"), &[], b"", 0);
    let request = server.next(MQ_EVENT_REQUEST).id;
    ok(server.respond(request, 200, &[], b"", 0));
    client.next_of(MQ_EVENT_RESPONSE, id);
    ok(client.send_datagram(id, b"up"));
    assert_eq!(server.next_of(MQ_EVENT_DATAGRAM, request).data, b"up");
    ok(server.send_datagram(request, b"down"));
    assert_eq!(client.next_of(MQ_EVENT_DATAGRAM, id).data, b"down");
}

#[test]
fn a_client_shuts_down_when_its_requests_have_ended() {
    let (mut server, mut client) = (Engine::server(&[]), Engine::client(&[]));
    let id = client.get(&server.url("/"));
    let request = server.next(MQ_EVENT_REQUEST);
    ok(mq_shutdown(client.handle));
    ok(server.respond(request.id, 200, &[], b"last", MQ_FLAG_END));
    client.next_of(MQ_EVENT_RESPONSE, id);
    assert_eq!(client.read_all(id), b"last");
    assert_eq!(client.next(MQ_EVENT_ENDED).code, 0);
    server.next(MQ_EVENT_CLOSED);
}

#[test]
fn wrong_requests_are_told_apart() {
    let client = Engine::client(&[]);
    let server = Engine::server(&[]);
    let call = |handle: u64, method: &str, url: &str, fields: &[u8], flags: u32| {
        let mut id = 0;
        // SAFETY: everything is there.
        let code = unsafe {
            mq_request(
                handle,
                method.as_ptr(),
                method.len(),
                url.as_ptr(),
                url.len(),
                fields.as_ptr(),
                fields.len(),
                b"".as_ptr(),
                0,
                flags,
                &mut id,
            )
        };
        (code, last_error())
    };
    let told = |code: i32, text: &str| (code, text.to_owned());
    let url = "https://localhost/";
    assert_eq!(call(client.handle, "G T", url, b"", 1), told(MQ_ERR_ARGUMENT, "this is not a method"));
    assert_eq!(call(client.handle, "CONNECT", url, b"", 1), told(MQ_ERR_ARGUMENT, "mq_connect is for sessions"));
    assert_eq!(call(client.handle, "GET", "http://localhost/", b"", 1).0, MQ_ERR_ARGUMENT);
    assert_eq!(call(client.handle, "GET", url, b"a", 1).0, MQ_ERR_ARGUMENT);
    assert_eq!(call(client.handle, "GET", url, &section(&[("a", "\r")]), 1).0, MQ_ERR_ARGUMENT);
    assert_eq!(call(client.handle, "GET", url, b"", 2), told(MQ_ERR_ARGUMENT, "the only flag here is MQ_FLAG_END"));
    assert_eq!(call(server.handle, "GET", url, b"", 1), told(MQ_ERR_UNSUPPORTED, "only a client does this"));
    assert_eq!(client.respond(1, 200, &[], b"", 1), MQ_ERR_UNSUPPORTED);
}
