//! What is too large: 413, 414, 431.

use crate::support::curl::{Reply, curl};
use crate::support::server::Server;

fn assert_refused(reply: &Reply, body: &str) {
    assert_eq!(reply.text(), body);
    assert_eq!(reply.status.to_string(), body[..3]);
    assert_eq!(reply.field("content-length"), Some(&*body.len().to_string()));
}

const TOO_LARGE: &str = "413 Payload Too Large\n";
const TOO_LONG: &str = "414 URI Too Long\n";
const FIELDS_TOO_LARGE: &str = "431 Request Header Fields Too Large\n";

#[test]
fn a_body_over_the_limit() {
    let server = Server::start(&["--max-body", "1000"]);
    let (fits, over) = ("x".repeat(1000), "x".repeat(1001));
    // Declared, and found out while reading.
    for unknown_length in [false, true] {
        let send = |path: &str, body: &str| match unknown_length {
            false => curl(&server, path, &["--data-binary", body]),
            true => {
                let file = server.dir().join("body");
                std::fs::write(&file, body).unwrap();
                let pipe = format!("@{}", file.display());
                curl(&server, path, &["--data-binary", &pipe, "-H", "content-length:", "-H", "transfer-encoding:"])
            }
        };
        for path in ["/upload", "/api/echo"] {
            assert_eq!(send(path, &fits).status, 200, "{path}");
        }
        assert_refused(&send("/upload", &over), TOO_LARGE);
    }
    // The echo has answered before it could know, unless the length was declared.
    assert_refused(&curl(&server, "/api/echo", &["--data-binary", &over]), TOO_LARGE);
    assert_eq!(curl(&server, "/", &[]).status, 200);
}

#[test]
fn a_target_over_the_limit() {
    let server = Server::start(&[]);
    assert_eq!(curl(&server, &format!("/{}", "p".repeat(2047)), &[]).text(), "404 Not Found\n");
    assert_refused(&curl(&server, &format!("/{}", "p".repeat(2048)), &[]), TOO_LONG);
    assert_refused(&curl(&server, &format!("/?{}", "q".repeat(2047)), &[]), TOO_LONG);
    let head = curl(&server, &format!("/{}", "p".repeat(2048)), &["--head"]);
    assert_eq!((head.status, head.field("content-length")), (414, Some("17")));
}

#[test]
fn fields_over_the_limits() {
    let server = Server::start(&[]);
    let file = server.dir().join("fields");
    let with = |lines: String| {
        std::fs::write(&file, lines).unwrap();
        // curl's own fields away: the count is exact.
        curl(&server, "/", &["-H", "user-agent:", "-H", "accept:", "-H", &format!("@{}", file.display())])
    };
    let many = |n: usize| (0..n).map(|n| format!("x-{n}: 1\n")).collect::<String>();
    assert_eq!(with(many(100)).status, 200);
    assert_refused(&with(many(101)), FIELDS_TOO_LARGE);
    assert_eq!(with(format!("x: {}\n", "v".repeat(8192))).status, 200);
    assert_refused(&with(format!("x: {}\n", "v".repeat(8193))), FIELDS_TOO_LARGE);
    assert_eq!(with(format!("{}: 1\n", "n".repeat(256))).status, 200);
    assert_refused(&with(format!("{}: 1\n", "n".repeat(257))), FIELDS_TOO_LARGE);
    assert_refused(&with(format!("x: {0}\ny: {0}\n", "v".repeat(8192))), FIELDS_TOO_LARGE);
    assert_refused(&with(format!("x: {}\n", "v".repeat(30_000))), FIELDS_TOO_LARGE);
}
