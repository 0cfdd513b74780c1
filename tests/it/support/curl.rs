//! curl with HTTP/3, which `scripts/test` installs.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::digest;
use tempfile::TempDir;

use super::server::{Guard, Server};
use super::{sha256, tool};

/// A curl that shows errors, speaks nothing but HTTP/3, takes the development certificate and sends paths as they are.
pub(crate) fn command() -> Command {
    let mut command = strict_command();
    command.arg("-k");
    command
}

/// As [`command`], which takes no certificate but a right one.
pub(crate) fn strict_command() -> Command {
    let mut command = Command::new(tool("MIO_QUICHE_CURL"));
    command.args(["-q", "-sS", "--http3-only", "--path-as-is", "--max-time", "300"]).stdin(Stdio::null());
    command
}

/// A response as curl shows it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Header fields and trailer fields, in this order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Runs curl to its end.
pub(crate) fn curl(server: &Server, path: &str, args: &[&str]) -> Reply {
    curl_url(&server.url(path), args)
}

pub(crate) fn curl_url(url: &str, args: &[&str]) -> Reply {
    let dir = TempDir::new().unwrap();
    let heads = dir.path().join("heads");
    let output = command().arg("-D").arg(&heads).args(args).arg(url).output().expect("curl runs");
    assert!(output.status.success(), "{}: {}", url, String::from_utf8_lossy(&output.stderr));
    let (status, fields) = parse(&fs::read_to_string(&heads).unwrap());
    Reply { status, fields, body: output.stdout }
}

/// The last status and all fields of what `-D` wrote.
fn parse(heads: &str) -> (u16, Vec<(String, String)>) {
    let (mut status, mut fields) = (0, Vec::new());
    for line in heads.lines() {
        if let Some(rest) = line.strip_prefix("HTTP/3 ") {
            status = rest.trim().parse().unwrap();
            fields.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    (status, fields)
}

/// A download under way.
pub(crate) struct Download {
    pub(crate) child: Guard,
    dir: TempDir,
}

/// Begins a download into a file.
pub(crate) fn download(url: &str, args: &[&str]) -> Download {
    let dir = TempDir::new().unwrap();
    let errors = fs::File::create(dir.path().join("errors")).unwrap();
    let mut curl = command();
    curl.arg("-D").arg(dir.path().join("heads")).arg("-o").arg(dir.path().join("body")).args(args).arg(url);
    let child: Child = curl.stdout(Stdio::null()).stderr(errors).spawn().expect("curl starts");
    Download { child: Guard(child), dir }
}

impl Download {
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap_or_default()
    }

    /// Bytes of the body so far.
    pub(crate) fn len(&self) -> u64 {
        fs::metadata(self.path()).map_or(0, |file| file.len())
    }

    fn path(&self) -> impl AsRef<Path> {
        self.dir.path().join("body")
    }

    /// Waits for curl to succeed; gives the fields and the body.
    pub(crate) fn finish(&mut self, deadline: Duration) -> Reply {
        let mut reply = self.finish_file(deadline);
        reply.body = self.read("body");
        reply
    }

    /// The SHA-256 of the body, of any size.
    pub(crate) fn sha256(&self) -> String {
        let mut file = fs::File::open(self.path()).unwrap();
        let mut sum = digest::Context::new(&digest::SHA256);
        let mut buf = vec![0; 1 << 20];
        loop {
            match file.read(&mut buf).unwrap() {
                0 => return HEXLOWER.encode(sum.finish().as_ref()),
                n => sum.update(&buf[..n]),
            }
        }
    }

    /// As [`finish`](Download::finish), but leaves the body in its file.
    pub(crate) fn finish_file(&mut self, deadline: Duration) -> Reply {
        let status = self.child.wait("curl ends", deadline);
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&self.read("errors")));
        let (status, fields) = parse(&String::from_utf8_lossy(&self.read("heads")));
        Reply { status, fields, body: Vec::new() }
    }
}

/// The body is the demo's payload of this length, by its own account (the trailer) and by ours.
pub(crate) fn assert_payload(reply: &Reply, len: usize) {
    assert_eq!((reply.status, reply.body.len()), (200, len));
    let expected = sha256(&super::payload(len));
    assert_eq!(sha256(&reply.body), expected, "the bytes are not the payload's");
    assert_eq!(reply.field("x-checksum"), Some(expected.as_str()));
}
