//! What is too large: 413, 414, 431.

use crate::support::curl::{Reply, curl};
use crate::support::server::Server;

fn assert_refused(reply: &Reply, body: &str) {
    assert_eq!(reply.text(), body);
    assert_eq!(reply.status.to_string(), body[..3]);
    assert_eq!(reply.field("content-length"), Some(&*body.len().to_string()));
}

const TOO_LARGE: &str = "413 Payload Too Large\n";

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
    // M2
    let server = Server::start(&[]);
    let too_long = "414 URI Too Long: the request target has 8193 bytes, more than 8192 (max_target)\n";
    assert_eq!(curl(&server, &format!("/{}", "p".repeat(8191)), &[]).text(), "404 Not Found\n");
    assert_eq!(curl(&server, &format!("/?{}", "q".repeat(7900)), &[]).text(), "Hello, HTTP/3!\n");
    assert_refused(&curl(&server, &format!("/{}", "p".repeat(8192)), &[]), too_long);
    assert_refused(&curl(&server, &format!("/?{}", "q".repeat(8191)), &[]), too_long);
    let head = curl(&server, &format!("/{}", "p".repeat(8192)), &["--head"]);
    assert_eq!((head.status, head.field("content-length")), (414, Some(&*too_long.len().to_string())));
}

/// The response to a request with these fields only: curl's own are omitted, so that the count is exact.
fn with(server: &Server, lines: &str) -> Reply {
    let file = server.dir().join("fields");
    std::fs::write(&file, lines).unwrap();
    curl(server, "/", &["-H", "user-agent:", "-H", "accept:", "-H", &format!("@{}", file.display())])
}

#[test]
fn fields_over_the_limits() {
    // M2
    let server = Server::start(&[]);
    let many = |n: usize| (0..n).map(|n| format!("x-{n}: 1\n")).collect::<String>();
    let refused = |lines: String, message: &str| {
        assert_refused(&with(&server, &lines), &format!("431 Request Header Fields Too Large: {message}\n"));
    };
    assert_eq!(with(&server, &many(200)).status, 200);
    refused(many(201), "201 fields, more than 200 (max_fields)");
    assert_eq!(with(&server, &format!("x: {}\n", "v".repeat(16_384))).status, 200);
    let value = |size: usize| format!("the value of field \"x\" has {size} bytes, more than 16384 (max_value)");
    refused(format!("x: {}\n", "v".repeat(16_385)), &value(16_385));
    refused(format!("x: {}\n", "v".repeat(30_000)), &value(30_000));
    assert_eq!(with(&server, &format!("{}: 1\n", "n".repeat(256))).status, 200);
    let name = "n".repeat(64);
    let message = format!("the name of field \"{name}\" has 257 bytes, more than 256 (max_name)");
    refused(format!("{}: 1\n", "n".repeat(257)), &message);
    let reply = with(&server, &format!("x: {0}\ny: {0}\n", "v".repeat(16_384)));
    assert_eq!(reply.status, 431);
    let message = "bytes, more than 32768 (max_field_section); its largest field is \"y\"\n";
    assert!(reply.text().ends_with(message), "{}", reply.text());
}

#[test]
fn limits_are_settings_of_serve() {
    // M2
    let args = ["--max-fields", "3", "--max-field-value", "10", "--max-field-section", "400", "--max-target", "20"];
    let server = Server::start(&args);
    assert_eq!(with(&server, "a: 1\nb: 2\nc: 1234567890\n").status, 200);
    let refused = |lines: &str, message: &str| {
        assert_refused(&with(&server, lines), &format!("431 Request Header Fields Too Large: {message}\n"));
    };
    refused("a: 1\nb: 2\nc: 3\nd: 4\n", "4 fields, more than 3 (max_fields)");
    refused("a: 12345678901\n", "the value of field \"a\" has 11 bytes, more than 10 (max_value)");
    let reply = with(&server, &format!("{}: 1\n{}: 2\n", "n".repeat(100), "m".repeat(100)));
    assert!(reply.text().contains("more than 400 (max_field_section)"), "{}", reply.text());
    let long = "414 URI Too Long: the request target has 21 bytes, more than 20 (max_target)\n";
    assert_refused(&curl(&server, "/12345678901234567890", &[]), long);
}
