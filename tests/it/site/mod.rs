//! `serve DIR`: a directory as a site.

mod beside_nginx;
mod encodings;
mod hostile;
mod listings;
mod settings;

use std::fs;
use std::path::Path;

use crate::support::client::{self, Answer, Client};
use crate::support::server::Server;

/// Files with these contents.
fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The answer to a request with these fields, `NAME VALUE` each.
fn request(server: &Server, method: &str, path: &str, fields: &[&str]) -> Answer {
    let mut client = Client::connect(server.addr());
    let spec = client::get(path).replace(":method GET", &format!(":method {method}"));
    let id = client.request(&[&[spec.as_str()], fields].concat().join("|"), true);
    client.answer(id)
}

fn get(server: &Server, path: &str, fields: &[&str]) -> Answer {
    request(server, "GET", path, fields)
}

#[test]
fn a_directory_is_served_at_the_root() {
    let fill = |root: &Path| {
        write(root, &[("index.html", "<p>home"), ("a.txt", "a"), ("sub/index.html", "<p>sub"), (".hidden", "secret")]);
        write(root, &[(".well-known/security.txt", "Contact: x"), ("api/users", "a file")]);
    };
    let server = Server::site(fill, &["--cache-control", "max-age=60"]);
    for (path, text, content_type) in [
        ("/", "<p>home", "text/html; charset=utf-8"),
        ("/?x=1", "<p>home", "text/html; charset=utf-8"),
        ("/index.html", "<p>home", "text/html; charset=utf-8"),
        ("/a.txt", "a", "text/plain;charset=utf-8"),
        ("/sub/", "<p>sub", "text/html; charset=utf-8"),
        ("/.well-known/security.txt", "Contact: x", "text/plain;charset=utf-8"),
        // A route of the demo.
        ("/api/users", "a file", "application/octet-stream"),
    ] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.text()), (200, text), "{path}");
        assert_eq!(answer.field("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.field("cache-control"), Some("max-age=60"), "{path}");
        let head = request(&server, "HEAD", path, &[]);
        assert_eq!((head.status(), head.field("content-length")), (200, Some(text.len().to_string().as_str())));
        assert_eq!(head.text(), "");
    }
    let redirect = get(&server, "/sub?x=1", &[]);
    assert_eq!((redirect.status(), redirect.field("location")), (308, Some("/sub/?x=1")));
    for path in ["/.hidden", "/nothing", "/files/a.txt", "/stream/5", "/upload"] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.text()), (404, "404 Not Found\n"), "{path}");
        assert_eq!(answer.field("cache-control"), None);
    }
    let post = request(&server, "POST", "/a.txt", &[]);
    assert_eq!((post.status(), post.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    // Nothing but files: no sessions are offered.
    let mut client = Client::connect(server.addr());
    let connect = client::get("/wt/echo").replace(":method GET", ":method CONNECT");
    let id = client.request(&format!("{connect}|:protocol webtransport"), true);
    assert_eq!(client.reset_code(id), 0x10e);
}

#[test]
fn an_application_of_a_single_page() {
    let fill = |root: &Path| write(root, &[("index.html", "<p>app"), ("app.js", "1"), ("dir/x", "x")]);
    let server = Server::site(fill, &["--spa"]);
    for path in ["/", "/users/42", "/users/", "/dir/", "/v1.2/users"] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.text()), (200, "<p>app"), "{path}");
    }
    assert_eq!(get(&server, "/app.js", &[]).text(), "1");
    for path in ["/gone.js", "/.env", "/dir/.hidden", "/users/../.git/config"] {
        assert_eq!(get(&server, path, &[]).status(), 404, "{path}");
    }
}

#[test]
fn a_long_file_that_is_not_in_memory() {
    let content = crate::support::payload(5_000_003);
    let own = content.clone();
    let server = Server::site(|root| fs::write(root.join("big.bin"), own).unwrap(), &[]);
    let file = fs::File::open(server.dir().join("root/big.bin")).unwrap();
    file.sync_all().unwrap();
    // What is on a disk is no longer in memory; a file system in memory keeps it.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(get(&server, "/big.bin", &[]).body == content);
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let part = get(&server, "/big.bin", &["range bytes=1000000-3999999"]);
    assert!(part.status() == 206 && part.body == content[1_000_000..4_000_000]);
}
