//! The library's client.

use mio_quiche::{Client, ClientConfig};

use crate::support::server::Server;

fn insecure() -> Client {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    Client::new(config).unwrap()
}

#[test]
fn one_request_after_another() {
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let response = client.get(&server.url("/")).unwrap();
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"Hello, HTTP/3!\n"[..]));
    let response = client.get(&server.url("/stream/3000000")).unwrap();
    assert_eq!(response.body.len(), 3_000_000);
    assert!(response.trailers.contains_key("x-checksum"));
    assert_eq!(client.get(&server.url("/nowhere")).unwrap().status.as_u16(), 404);
    client.close();
    server.stop();
}
