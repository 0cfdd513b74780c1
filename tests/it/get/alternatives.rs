//! Alternative services (RFC 7838), in the library and with `get --alt-svc`.

use std::fs;
use std::process::Command;

use http::{HeaderName, HeaderValue};
use mio_quiche::{Client, ClientConfig, ClientRequest, Router};
use tempfile::TempDir;

use super::get;
use crate::support::local::Local;
use crate::support::tool;

/// A server that says its name and what it was used as, and names an alternative where a request asks it to.
fn server(name: &'static str) -> Local {
    Local::start(
        |_| {},
        move || {
            Router::new()
                .get("/", move |req, res| {
                    let used = req.header("alt-used").unwrap_or("itself").to_owned();
                    let res = match req.header("name-alternative") {
                        Some(field) => res.header("alt-svc", field),
                        None => res,
                    };
                    res.text(format!("{name} as {used}\n"))
                })
                .get("/misdirected", move |req, res| match req.header("alt-used") {
                    Some(_) => res.status(421).text("not here\n"),
                    None => res.text(format!("{name}\n")),
                })
        },
    )
}

#[test]
fn kept_in_a_file() {
    let (one, two) = (server("one"), server("two"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("alternatives");
    let file = file.to_str().unwrap();
    let ask = |args: &[&str]| get(&[&["-k", "--alt-svc", file, &one.url("/")][..], args].concat()).text().to_owned();
    let named = format!("name-alternative: h3=\":{}\"; ma=60", two.addr().port());
    // The connection that there is goes on being used.
    assert_eq!(ask(&["-H", &named, "--repeat", "2"]), "one as itself\n".repeat(2));
    let line = fs::read_to_string(file).unwrap();
    let start = format!("h3 127.0.0.1 {} h3 127.0.0.1 {} \"2", one.addr().port(), two.addr().port());
    assert!(line.lines().any(|line| line.starts_with(&start) && line.ends_with("\" 0 0")), "{line}");
    let by_two = format!("two as {}\n", two.addr());
    assert_eq!(ask(&[]), by_two);
    // curl reads the file, too. (With --http3-only it takes no alternative.)
    let output =
        Command::new(tool("MIO_QUICHE_CURL")).args(["-ks", "--http3", "--alt-svc", file, &one.url("/")]).output();
    let output = output.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), by_two, "{}", String::from_utf8_lossy(&output.stderr));
    // Without the option it is ignored.
    assert_eq!(get(&["-k", &one.url("/")]).text(), "one as itself\n");
    assert_eq!(get(&["-k", "--alt-svc", "", &one.url("/")]).text(), "one as itself\n");
    assert_eq!(ask(&["-H", "name-alternative: clear"]), by_two);
    assert_eq!(ask(&[]), "one as itself\n");
    // What somebody else wrote is kept, and used where it can be.
    let others = "h2 a.example 443 h2 b.example 443 \"20390904 00:00:00\" 0 0";
    let dead = format!("h2 127.0.0.1 {} h3 127.0.0.1 1 \"20390904 00:00:00\" 1 0", one.addr().port());
    fs::write(file, format!("# from curl\n{others}\n{dead}\nnonsense\n")).unwrap();
    assert_eq!(ask(&[]), "one as itself\n", "nobody listens at the alternative");
    let kept = fs::read_to_string(file).unwrap();
    assert!(kept.contains(&format!("{others}\n")) && kept.contains(&dead.replace("h2 ", "h3 ")), "{kept}");
    let missing = format!("{file}/x");
    let ended = get(&["-k", "--alt-svc", &missing, &one.url("/")]);
    assert_eq!(ended.code, 26, "{}", ended.err);
    one.stop();
    two.stop();
}

#[test]
fn an_alternative_that_fails_or_is_none() {
    let (one, two) = (server("one"), server("two"));
    let port = two.addr().port();
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    config.alt_svc = true;
    let mut client = Client::new(config.clone()).unwrap();
    let naming = |field: &str| {
        let (name, value) = (HeaderName::from_static("name-alternative"), HeaderValue::from_str(field).unwrap());
        ClientRequest::get(&one.url("/")).unwrap().header(name, value)
    };
    let named = format!("h3=\"127.0.0.1:{port}\"; ma=60; persist=1");
    client.fetch(naming(&named)).unwrap();
    let known = client.alternatives();
    assert_eq!((known.len(), known[0].port, known[0].persist), (1, port, true));
    client.close();
    // Another client, which is told of it.
    let mut second = Client::new(config.clone()).unwrap();
    second.add_alternative(known[0].clone());
    assert_eq!(second.get(&one.url("/")).unwrap().body, format!("two as 127.0.0.1:{port}\n"));
    // It says that it is none: the request goes to the origin, and so do all others.
    assert_eq!(second.get(&one.url("/misdirected")).unwrap().body, "one\n");
    assert_eq!(second.get(&one.url("/")).unwrap().body, "one as itself\n");
    assert_eq!(second.alternatives(), []);
    // A certificate that is not for the origin.
    let mut careful = ClientConfig::default();
    (careful.ca_file, careful.alt_svc) = (Some(one.dir().join("ca.pem")), true);
    let mut third = Client::new(careful).unwrap();
    third.add_alternative(known[0].clone());
    assert_eq!(third.get(&one.url("/")).unwrap().body, "one as itself\n");
    // One that is gone.
    two.stop();
    let mut fourth = Client::new(config).unwrap();
    fourth.add_alternative(known[0].clone());
    assert_eq!(fourth.get(&one.url("/")).unwrap().body, "one as itself\n");
    one.stop();
}
