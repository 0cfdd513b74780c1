//! A site of a thousand files, served by us and by nginx.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use crate::support::client::{self, Client};
use crate::support::server::{Guard, Server, mio_quiche};
use crate::support::{DEADLINE, payload, tool, wait_for};

const KINDS: [&str; 20] = [
    "html", "css", "js", "mjs", "json", "xml", "txt", "svg", "png", "jpg", "gif", "webp", "ico", "woff2", "wasm",
    "pdf", "zip", "mp4", "bin", "md",
];

/// A thousand files of all kinds and lengths, and their paths.
fn fill(root: &Path) -> Vec<String> {
    (0..1000)
        .map(|n| {
            let path = format!("d{}/f{n}.{}", n % 25, KINDS[n % KINDS.len()]);
            fs::create_dir_all(root.join(&path).parent().unwrap()).unwrap();
            fs::write(root.join(&path), payload(n * n / 7)).unwrap();
            let file = fs::File::options().write(true).open(root.join(&path)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000 + n as u64)).unwrap();
            format!("/{path}")
        })
        .collect()
}

fn nginx(dir: &Path) -> (Guard, SocketAddr) {
    // It cannot tell which port it got.
    let addr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = tool("MIO_QUICHE_NGINX");
    let packaged = program.parent().unwrap().join("../tree/etc/nginx/mime.types");
    let types = if packaged.exists() { packaged } else { "/etc/nginx/mime.types".into() };
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {name};\n"));
    let config = format!(
        "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\nevents {{ }}\n\
         http {{\naccess_log off;\ninclude {};\n{}keepalive_requests 100000;\n\
         server {{\nlisten {addr} quic;\nssl_certificate cert.pem;\nssl_certificate_key key.pem;\nroot root;\n\
         index index.html;\n}}\n}}\n",
        types.display(),
        temp.concat()
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let log = fs::File::create(dir.join("nginx.log")).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).args(["-e", "stderr"]).current_dir(dir);
    let child = Guard(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("nginx starts"));
    wait_for("nginx answers", DEADLINE, || {
        let url = format!("https://{addr}/");
        let ended = mio_quiche().args(["get", "-k", "-s", "--connect-timeout", "2", &url]).output().unwrap();
        (ended.status.code() == Some(0)).then_some(())
    });
    (child, addr)
}

type Fields = BTreeMap<String, String>;

/// Status, fields and body of a response.
fn get(client: &mut Client, method: &str, path: &str, fields: &[&str]) -> (u16, Fields, Vec<u8>) {
    let spec = client::get(path).replace(":method GET", &format!(":method {method}"));
    let id = client.request(&[&[spec.as_str()], fields].concat().join("|"), true);
    let answer = client.answer(id);
    let head = answer.heads.last().unwrap().iter().filter(|(name, _)| !name.starts_with(':')).cloned().collect();
    (answer.status(), head, answer.body)
}

/// What differs between two heads; the values of fields that both have and that need not be equal are left out.
fn differences(theirs: &Fields, ours: &Fields) -> Vec<String> {
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differs = |name: &&String| {
        let (theirs, ours) = (theirs.get(*name), ours.get(*name));
        match name.as_str() {
            "date" | "etag" => theirs.is_some() != ours.is_some(),
            _ => theirs != ours,
        }
    };
    let shown = |name: &str, fields: &Fields| match fields.get(name) {
        // Of the file, or of the version.
        Some(_) if matches!(name, "etag" | "last-modified" | "server") => "...".to_owned(),
        Some(value) if name == "content-length" && value != "0" => "...".to_owned(),
        value => value.map_or("-", String::as_str).to_owned(),
    };
    let show = |name: &String| format!("{name}: {} | {}", shown(name, theirs), shown(name, ours));
    names.into_iter().filter(differs).map(show).collect()
}

#[test]
fn a_thousand_files_differ_in_what_is_listed_here() {
    let mut paths = Vec::new();
    let server = Server::site(|root| paths = fill(root), &["--no-compression", "--no-listing"]);
    let (_nginx, addr) = nginx(server.dir());
    let mut both = [Client::connect(addr), Client::connect(server.addr())];
    let mut found = BTreeSet::new();
    for (n, path) in paths.iter().enumerate() {
        let mut compare = |method: &str, fields: &[Vec<String>; 2]| {
            let [theirs, ours] = [0, 1].map(|side| {
                let fields: Vec<&str> = fields[side].iter().map(String::as_str).collect();
                get(&mut both[side], method, path, &fields)
            });
            assert_eq!(theirs.0, ours.0, "{method} {path} {fields:?}");
            assert!(ours.0 >= 300 || theirs.2 == ours.2, "{method} {path} {fields:?}");
            let status = ours.0;
            found
                .extend(differences(&theirs.1, &ours.1).into_iter().map(|difference| format!("{status} {difference}")));
            [theirs.1, ours.1]
        };
        let heads = compare("GET", &[vec![], vec![]]);
        // The rest does not depend on the file.
        if n % 10 != 9 {
            continue;
        }
        compare("HEAD", &[vec![], vec![]]);
        let both = |field: &str| [vec![field.to_owned()], vec![field.to_owned()]];
        for range in ["bytes=0-9", "bytes=-5", "bytes=5-", "bytes=99999999-", "items=1-2"] {
            compare("GET", &both(&format!("range {range}")));
        }
        compare("GET", &both(&format!("if-modified-since {}", heads[0]["last-modified"])));
        compare("GET", &both("if-unmodified-since Tue, 14 Nov 2000 22:13:20 GMT"));
        let own = |name: &str| heads.clone().map(|head| vec![format!("{name} {}", head["etag"])]);
        for name in ["if-none-match", "if-match"] {
            compare("GET", &own(name));
        }
        compare("GET", &own("if-range").map(|field| [field, vec!["range bytes=0-9".to_owned()]].concat()));
    }
    // RFC 9110 section 14.1.1: such a range is invalid, and section 14.2: the field is then ignored.
    let statuses = [0, 1].map(|side| get(&mut both[side], "GET", &paths[9], &["range bytes=3-2"]).0);
    assert_eq!(statuses, [416, 200]);
    for (path, statuses) in [("/nothing", [404, 404]), ("/d1", [301, 308]), ("/../x", [400, 404])] {
        assert_eq!([0, 1].map(|side| get(&mut both[side], "GET", path, &[]).0), statuses, "{path}");
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, EXPECTED, "{found:#?}");
}

/// Status, field, what nginx sends, what we send. Everything else is equal, and so are the statuses and the bodies.
const EXPECTED: [&str; 23] = [
    // RFC 9239 section 6, and texts are UTF-8 unless a file says otherwise. Markdown and modules are unknown to nginx's list.
    "200 content-type: application/javascript | text/javascript; charset=utf-8",
    "200 content-type: text/css | text/css; charset=utf-8",
    "200 content-type: text/html | text/html; charset=utf-8",
    "200 content-type: text/plain | application/javascript",
    "200 content-type: text/plain | text/markdown; charset=utf-8",
    "200 content-type: text/plain | text/plain;charset=utf-8",
    "200 content-type: text/xml | text/xml; charset=utf-8",
    // Which program answers is of use to attackers alone.
    "200 server: ... | -",
    // A part may be asked for again; RFC 9110 section 14.3 allows the field everywhere.
    "206 accept-ranges: - | bytes",
    "206 content-type: text/plain | text/markdown; charset=utf-8",
    "206 server: ... | -",
    "304 server: ... | -",
    // A page for people, where a program asked; and the validators tell it what there is instead.
    "412 content-length: ... | 0",
    "412 content-type: text/html | -",
    "412 etag: - | ...",
    "412 last-modified: - | ...",
    "412 server: ... | -",
    "416 accept-ranges: - | bytes",
    "416 content-length: ... | 0",
    "416 content-type: text/html | -",
    "416 etag: - | ...",
    "416 last-modified: - | ...",
    "416 server: ... | -",
];
