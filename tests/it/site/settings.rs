//! The options of a site, by arguments, variables and a file.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use data_encoding::BASE64;

use super::{get, request, write};
use crate::support::server::{Server, make_cert, mio_quiche};

fn site(args: &[&str]) -> Server {
    Server::site(|root| write(root, &[("a.txt", "a"), ("assets/a.js", "1"), ("assets/a.css", "")]), args)
}

/// With this file of settings beside the directory.
fn configured(text: &str, args: &[&str]) -> Server {
    let fill = |root: &Path| {
        write(root, &[("a.txt", "a"), ("assets/a.js", "1"), ("assets/a.css", "")]);
        fs::write(root.join("../serve.toml"), text).unwrap();
    };
    Server::site(fill, &[&["--config", "serve.toml"], args].concat())
}

#[test]
fn cors() {
    let server = site(&["--cors"]);
    for (path, status) in [("/a.txt", 200), ("/nothing", 404)] {
        let answer = get(&server, path, &["origin https://a.example"]);
        assert_eq!((answer.status(), answer.field("access-control-allow-origin")), (status, Some("*")));
        assert_eq!(answer.field("access-control-expose-headers"), Some("*"));
    }
    let preflight = ["origin https://a.example", "access-control-request-method GET"];
    let answer = request(&server, "OPTIONS", "/a.txt", &preflight);
    assert_eq!((answer.status(), answer.field("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(answer.field("access-control-allow-methods"), Some("*"));
    assert_eq!(answer.field("access-control-allow-headers"), Some("*, authorization"));
    assert_eq!(answer.field("access-control-max-age"), Some("7200"));

    let server = site(&["--cors=https://a.example", "--cors=https://b.example"]);
    for (origin, allowed) in [
        ("https://a.example", Some("https://a.example")),
        ("https://b.example", Some("https://b.example")),
        ("https://c.example", None),
        ("https://a.example.evil", None),
        ("null", None),
    ] {
        let answer = get(&server, "/a.txt", &[&format!("origin {origin}")]);
        assert_eq!((answer.status(), answer.field("access-control-allow-origin")), (200, allowed), "{origin}");
        assert_eq!(answer.field("vary"), Some("origin"));
    }
    assert_eq!(get(&site(&[]), "/a.txt", &["origin https://a.example"]).field("access-control-allow-origin"), None);
}

#[test]
fn basic_authentication() {
    let server = site(&["--auth", "me:se:cret", "--auth", "you:\u{e4}", "--cors"]);
    let with =
        |credentials: &str| format!("authorization Basic {}", BASE64.encode(credentials.as_bytes())).trim().to_owned();
    for path in ["/a.txt", "/nothing", "/"] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.text()), (401, "401 Unauthorized\n"), "{path}");
        let challenge = "Basic realm=\"mio-quiche\", charset=\"UTF-8\"";
        assert_eq!(answer.field("www-authenticate"), Some(challenge));
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    }
    for (field, status) in [
        (with("me:se:cret"), 200),
        (with("you:\u{e4}"), 200),
        (with("me:se:cret").replace("Basic", "bAsIc"), 200),
        (with("me:se"), 401),
        (with("me:se:cret2"), 401),
        (with("you:se:cret"), 401),
        (with(""), 401),
        (with(":"), 401),
        ("authorization Basic !!!".to_owned(), 401),
        ("authorization Basic".to_owned(), 401),
        ("authorization Bearer me:se:cret".to_owned(), 401),
    ] {
        assert_eq!(get(&server, "/a.txt", &[&field]).status(), status, "{field}");
    }
    // A preflight request has no credentials.
    let preflight = ["origin https://a.example", "access-control-request-method GET"];
    assert_eq!(request(&server, "OPTIONS", "/a.txt", &preflight).status(), 204);
    let log = server.log();
    assert!(!log.contains("se:cret"), "{log}");
}

#[test]
fn fields_and_redirects_of_the_file() {
    let server = configured(
        r#"
            cache-control = "max-age=60"
            no-listing = true
            [headers]
            x-content-type-options = "nosniff"
            [headers."/assets/*"]
            cache-control = "max-age=31536000, immutable"
            [headers."/*.css"]
            content-type = "text/css"
            [redirects]
            "/old" = "/new"
            "/blog/*" = { to = "https://blog.example/*", status = 301 }
            "/fixed" = "/a.txt?x=1"
        "#,
        &[],
    );
    for (path, status, cache, content_type) in [
        ("/a.txt", 200, Some("max-age=60"), Some("text/plain;charset=utf-8")),
        ("/assets/a.js", 200, Some("max-age=31536000, immutable"), Some("text/javascript; charset=utf-8")),
        ("/assets/a.css", 200, Some("max-age=31536000, immutable"), Some("text/css")),
        ("/", 404, None, Some("text/plain;charset=utf-8")),
    ] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.field("cache-control")), (status, cache), "{path}");
        assert_eq!(answer.field("content-type"), content_type, "{path}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{path}");
    }
    for (path, status, location) in [
        ("/old", 307, "/new"),
        ("/old?x=1", 307, "/new?x=1"),
        ("/%6Fld", 307, "/new"),
        ("/blog/", 301, "https://blog.example/"),
        ("/blog/a%20b/%E9?q", 301, "https://blog.example/a%20b/%E9?q"),
        ("/fixed?y", 307, "/a.txt?x=1"),
    ] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status(), answer.field("location")), (status, Some(location)), "{path}");
    }
}

#[test]
fn arguments_come_before_variables_and_variables_before_the_file() {
    let cache = |server: &Server| get(server, "/a.txt", &[]).field("cache-control").map(str::to_owned);
    let file = "cache-control = \"file\"\ndemo = true\nworkers = 2\ncors = true\nauth = []\n";
    let server = configured(file, &[]);
    assert_eq!(cache(&server).as_deref(), Some("file"));
    assert_eq!(get(&server, "/", &[]).text(), "Hello, HTTP/3!\n");
    assert!(server.log().contains("2 workers"), "{}", server.log());
    assert_eq!(cache(&configured(file, &["--cache-control", "argument"])).as_deref(), Some("argument"));
    let with = |args: &[&str]| {
        let prepare = |command: &mut std::process::Command, dir: &Path| {
            write(&dir.join("root"), &[("a.txt", "a")]);
            fs::write(dir.join("serve.toml"), file).unwrap();
            command.env("MIO_QUICHE_CACHE_CONTROL", "variable").env("MIO_QUICHE_CONFIG", "serve.toml");
            command.env("MIO_QUICHE_DIR", "root").env("MIO_QUICHE_NO_LISTING", "1").env("MIO_QUICHE_EARLY_DATA", "0");
        };
        Server::run("127.0.0.1:0", prepare, args)
    };
    assert_eq!(cache(&with(&[])).as_deref(), Some("variable"));
    assert_eq!(cache(&with(&["--cache-control", "argument"])).as_deref(), Some("argument"));
}

#[test]
fn a_port_replaces_that_of_the_address() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = site(&["-p", &free]);
    assert_eq!(server.addr().to_string(), format!("127.0.0.1:{free}"));
}

#[test]
fn what_does_not_do_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let dir = dir.path();
    make_cert(&dir.join("certs"));
    write(dir, &[("public/a", ""), ("inside/.certs/x", "")]);
    let run = |args: &[&str]| {
        let output = mio_quiche().arg("serve").args(args).current_dir(dir).stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let message = "mio-quiche: nothing to serve: name a directory, such as mio-quiche serve public, or give --demo\n";
    assert_eq!(run(&[]), (Some(2), message.to_owned()));
    // The private key would be served.
    for args in [&["."][..], &["certs"], &["public", "--host-key", "public/a"], &["public", "--key", "public/a"]] {
        let (code, err) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains("is secret, and within") && err.lines().count() == 1, "{args:?}: {err}");
    }
    // A directory with a dot in front is not.
    make_cert(&dir.join("inside/.certs"));
    let (code, err) = run(&["inside", "--cert", "nowhere", "--key", "inside/.certs/key.pem"]);
    assert!(code == Some(2) && err.starts_with("mio-quiche: cannot read certificate 'nowhere'"), "{err}");
    for (args, said) in [
        // T10
        (&["public", "--log", "nonsense=x"][..], "mio-quiche: --log 'nonsense=x': "),
        (&["public", "--cors=a.example"], "error: invalid value 'a.example' for '--cors[=<ORIGIN>]': not an origin"),
        (&["public", "--auth", "me"], "error: invalid value 'me' for '--auth <USER:PASSWORD>': give USER:PASSWORD"),
        (&["public", "--cache-control", "a\nb"], "error: invalid value 'a\nb' for '--cache-control <VALUE>'"),
        (&["public", "-p", "70000"], "error: invalid value '70000' for '--port <PORT>'"),
        (&["public", "--config", "nowhere"], "mio-quiche: cannot use 'nowhere': No such file or directory"),
        (&["public", "--config", "/dev/zero"], "mio-quiche: cannot use '/dev/zero': it is too long"),
        (&["public/a"], "mio-quiche: cannot use root directory 'public/a': "),
    ] {
        let (code, err) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.starts_with(said), "{args:?}: {err}");
    }
    for (text, said) in [
        ("nonsense = 1", "unknown key 'nonsense'"),
        ("config = 'x'", "unknown key 'config'"),
        ("spa = 1", "'spa' is true or false"),
        ("listen = { a = 1 }", "'listen' is a string or a number, or a list of them"),
        ("a b", "TOML parse error at line 1, column 3"),
        ("[headers]\n'a b' = 'x'", "'a b' is not a name of a field"),
        ("[redirects]\n'/a' = 1", "redirect '/a': give \"TO\" or { to = \"TO\", status = 301, 302, 303, 307 or 308 }"),
        ("workers = 'x'", "\nerror: invalid value 'x' for '--workers <N>': invalid digit found in string"),
        ("[redirects]\n'a' = '/b'", "redirect 'a': a path begins with a slash"),
    ] {
        fs::write(dir.join("x.toml"), text).unwrap();
        let (code, err) = run(&["public", "--config", "x.toml"]);
        assert_eq!(code, Some(2), "{text}: {err}");
        let start = format!("mio-quiche: cannot use 'x.toml': {said}").replace(": \n", ":\n");
        assert!(err.starts_with(&start), "{text}: {err}");
    }
    fs::write(dir.join("x.toml"), "[redirects]\n'/slow' = '/b'").unwrap();
    let (code, err) = run(&["public", "--demo", "--config", "x.toml"]);
    assert_eq!(code, Some(2), "{err}");
    assert_eq!(err, "mio-quiche: route GET /slow conflicts with GET /slow\n");
}
