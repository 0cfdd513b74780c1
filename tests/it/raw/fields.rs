//! Fields as browsers and proxies send them, and as they must not be.

use crate::support::client::{Client, get, post};
use crate::support::frames::{DATA, fields, frame, headers};
use crate::support::server::Server;

#[test]
fn the_crumbs_of_150_cookies_are_one_field() {
    // M1
    let server = Server::start(&["--max-fields", "1"]);
    let mut client = Client::connect(server.addr());
    let crumbs = |n: usize| (0..n).map(|n| format!("|cookie name{n}=value-of-cookie-{n}")).collect::<String>();
    for count in [95, 150] {
        let id = client.raw_stream(&headers(&fields(&format!("{}{}", get("/"), crumbs(count)))), true);
        let answer = client.answer(id);
        assert_eq!((answer.status(), answer.text()), (200, "Hello, HTTP/3!\n"), "{count} cookies");
    }
    let id = client.raw_stream(&headers(&fields(&format!("{}|x-a 1{}", get("/"), crumbs(150)))), true);
    let text = "431 Request Header Fields Too Large: 2 fields, more than 1 (max_fields)\n";
    assert_eq!(client.answer(id).text(), text);
}

const MESSAGE_ERROR: u64 = 0x10e;

#[test]
fn repeated_fields_and_other_schemes_are_malformed() {
    // M3
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    let no_authority = ":method GET|:scheme https|:path /";
    for (what, spec) in [
        ("a second host", format!("{}|host localhost|host evil.example", get("/"))),
        ("a second host that is equal", format!("{}|host localhost|host localhost", get("/"))),
        ("two hosts and no authority", format!("{no_authority}|host localhost|host evil.example")),
        ("a second origin", format!("{}|origin https://localhost|origin https://evil.example", get("/"))),
        ("content-length twice", format!("{}|content-length 0|content-length 0", post("/upload"))),
        ("a second authorization", format!("{}|authorization a|authorization b", get("/"))),
        ("http", ":method GET|:scheme http|:authority localhost|:path /".to_owned()),
        ("ftp", ":method GET|:scheme ftp|:authority localhost|:path /".to_owned()),
    ] {
        let id = client.raw_stream(&headers(&fields(&spec)), true);
        assert_eq!(client.reset_code(id), MESSAGE_ERROR, "{what}");
    }
    client.assert_alive();
}

#[test]
fn characters_at_the_ends_of_values_are_not_trimmed() {
    // M4
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    let (get, post) = (get("/"), post("/trailers/demo"));
    let values: [&[u8]; 9] = [b"x\r\n", b"x\n", b"\r\nx", b"x\x0c", b"\x0bx", b" x", b"x ", b"x\t", b"\n"];
    for value in values {
        let field: (&[u8], &[u8]) = (b"x-a", value);
        let head = headers(&[&fields(&get)[..], &[field]].concat());
        let id = client.raw_stream(&head, true);
        assert_eq!(client.reset_code(id), MESSAGE_ERROR, "{value:?} in a head");
        let bytes = [headers(&fields(&post)), frame(DATA, b"x"), headers(&[field])].concat();
        let id = client.raw_stream(&bytes, true);
        assert_eq!(client.reset_code(id), MESSAGE_ERROR, "{value:?} in trailers");
    }
    client.assert_alive();
}

#[test]
fn an_authority_is_a_host_with_a_port_or_without() {
    // M5
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    for authority in ["localhost", "[::1]:1", "a.example:65535", "localhost:"] {
        let spec = format!(":method GET|:scheme https|:authority {authority}|:path /");
        let id = client.raw_stream(&headers(&fields(&spec)), true);
        assert_eq!(client.answer(id).status(), 200, "{authority}");
    }
    for authority in ["[::1", "[zz]", "localhost:99999", "localhost:port", "a<b>", ":443", "localhost:1:2"] {
        for spec in [
            format!(":method GET|:scheme https|:authority {authority}|:path /"),
            format!(":method GET|:scheme https|:path /|host {authority}"),
        ] {
            let id = client.raw_stream(&headers(&fields(&spec)), true);
            let text = format!("400 Bad Request: authority {authority:?} is neither HOST nor HOST:PORT\n");
            let answer = client.answer(id);
            assert_eq!((answer.status(), answer.text()), (400, &*text));
        }
    }
    client.assert_alive();
}

#[test]
fn larger_limits_reach_quiche() {
    // M2
    let server = Server::start(&["--max-field-value", "300000", "--max-field-section", "300000"]);
    let mut client = Client::connect(server.addr());
    let get = get("/");
    for (size, status) in [(250_000, 200), (300_001, 431), (500_000, 431)] {
        let value = vec![b'v'; size];
        let field: (&[u8], &[u8]) = (b"x-large", &value);
        let id = client.raw_stream(&headers(&[&fields(&get)[..], &[field]].concat()), true);
        assert_eq!(client.answer(id).status(), status, "{size} bytes");
    }
}
