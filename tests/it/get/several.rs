//! Patterns in URLs, `-K` and `-J`, beside curl's.

use std::fs;

use data_encoding::HEXLOWER;

use super::as_curl::both;
use super::servers::aioquic;
use super::{get, get_with};
use crate::support::payload;
use crate::support::server::Server;

#[test]
fn patterns() {
    let server = Server::start(&[]);
    let url = |path: &str| server.url(path);
    let (_, ours) =
        both(&["-w", "%{urlnum} %{url} %{http_code}\n", "-o", "f_#1_#2.x", &url("/stream/{1,2}[08-10:2]")], 0);
    assert_eq!(fs::read(ours.path().join("f_2_10.x")).expect("a file"), payload(210));
    both(&["-w", "%{urlnum} %{filename_effective}\n", "-O", "-O", &url("/stream/[1-3]"), &url("/stream/{7,9}")], 0);
    both(&["-g", "-w", "%{url}\n", &url("/?a=[1-2]")], 0);
    for wrong in ["/{a", "/[5-1]", "/a}", "/[a-1]"] {
        both(&[&url(wrong)], 3);
    }
    let message =
        format!("URL '{}': a bad range at character {} (-g takes it as it is)", url("/[5-1]"), url("/").len() + 1);
    get(&["-k", &url("/[5-1]")]).assert_failed(3, &message);
}

#[test]
fn arguments_in_files() {
    let server = Server::start(&[]);
    let home = server.url("/");
    both(&["-K", "config", "-o", "/dev/null", &home], 0);
    both(&["-K", "none", &home], 26);
    let config = format!("url = \"{home}\"\n--insecure\n-w \"%{{http_code}}\\n\"\noutput = file\n");
    let fill = |text: &'static str| move |dir: &std::path::Path| fs::write(dir.join("args"), text).expect("a file");
    let ended = get_with(&["-K", "args"], |dir| fs::write(dir.join("args"), config).expect("a file"));
    assert_eq!((ended.text(), &ended.file("file")[..]), ("200\n", &b"Hello, HTTP/3!\n"[..]));
    get_with(&["-K", "args", &home], fill("insecure\ndata = a b\n"))
        .assert_failed(2, "args:2: a value with blanks needs quotes (-K)");
    get_with(&["-K", "args"], fill("insecure\n")).assert_failed(2, "no URL is given");
    let unknown = get_with(&["-K", "args", &home], fill("no-such = x\n"));
    assert_eq!((unknown.code, unknown.err.contains("--no-such")), (2, true), "{unknown:?}");
}

#[test]
fn names_by_the_server() {
    let server = aioquic(&[]);
    let url = |value: &str| server.url(&format!("/extra/content-disposition={}", HEXLOWER.encode(value.as_bytes())));
    let names = [
        "attachment; filename=\"one two\"",
        "attachment; filename=plain.txt; size=1",
        "attachment; filename=\"a/b/c\"",
    ];
    for value in names {
        both(&["-OJ", &url(value)], 0);
    }
    let (_, ours) = both(&["-OJ", &url("attachment; filename=\"../../up\"")], 0);
    assert!(ours.path().join("up").exists());
    // A file that is there stays as it is.
    let (_, ours) = both(&["-OJ", &url("attachment; filename=data")], 23);
    assert!(fs::read(ours.path().join("data")).expect("a file").starts_with(b"two"));
    let hidden = get(&["-kOJ", &url("attachment; filename=.bashrc")]);
    assert!(hidden.code == 0 && !hidden.path(".bashrc").exists(), "{hidden:?}");
    assert_eq!(get(&["-kJ", &server.url("/")]).code, 2);
}
