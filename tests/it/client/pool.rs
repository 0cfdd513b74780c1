//! What a client keeps of many servers.

use http::StatusCode;
use mio_quiche::{ClientRequest, Resolver, Router};

use super::{client, insecure};
use crate::support::local::Local;

#[test]
fn connections_to_many_origins_are_bounded() {
    let server = Local::start(|_| {}, || Router::new().get("/", |_req, res| res.text("home\n")));
    let addr = server.addr();
    let mut client = client(|config| {
        config.dangerous().accept_any_certificate();
        config.resolver = Some(Resolver::new(move |_, _| Ok(vec![addr])));
    });
    let url = |n: usize| format!("https://origin-{n}.example:{}/", addr.port());
    // Returns the connections made so far.
    let mut get = |n| {
        let response = client.fetch(ClientRequest::get(&url(n)).unwrap()).unwrap();
        assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"home\n"[..]), "{n}");
        client.stats().connections
    };
    for n in 0..150 {
        assert_eq!(get(n), n as u64 + 1);
    }
    // The last hundred are still there.
    assert_eq!((get(50), get(100), get(149)), (150, 150, 150));
    assert_eq!(get(49), 151);
    // Its place was that of 51, which was idle for the longest time.
    assert_eq!((get(50), get(52), get(51)), (151, 151, 152));
}

#[test]
fn tickets_of_many_origins_are_bounded() {
    let mut client = insecure();
    let url = |n: usize| format!("https://origin-{n}.example/");
    for n in 0..1001 {
        client.set_ticket(&url(n), vec![0]).unwrap();
    }
    client.set_ticket(&url(1), vec![1]).unwrap();
    client.set_ticket(&url(1001), vec![0]).unwrap();
    let kept = [0, 1, 2, 3, 1001].map(|n| client.ticket(&url(n)).unwrap());
    assert_eq!(kept, [None, Some(vec![1]), None, Some(vec![0]), Some(vec![0])]);
}
