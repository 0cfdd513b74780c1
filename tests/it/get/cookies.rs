//! `-b` and `-c`, beside curl's.

use std::fs;

use data_encoding::HEXLOWER;

use super::as_curl::{EXPIRES, both};
use super::servers::aioquic;
use super::{get, get_with};

#[test]
fn cookies_come_and_go() {
    let server = aioquic(&[]);
    let set = |cookies: &[&str]| {
        let fields: Vec<_> =
            cookies.iter().map(|text| format!("set-cookie={}", HEXLOWER.encode(text.as_bytes()))).collect();
        server.url(&format!("/extra/{}", fields.join("/")))
    };
    let fields = server.url("/fields");
    let deep = format!("bb=2; Expires={}; Path=/fields; HttpOnly; Secure", httpdate::fmt_http_date(*EXPIRES));
    let some = set(&[
        "aaa=1; Path=/",
        &deep,
        "c=3; Domain=127.0.0.1; Path=/",
        "gone=1; Max-Age=0",
        "d=4; Domain=other.example",
    ]);
    both(&["-c", "jar", &some], 0);
    // They go back in the same run, and after a file.
    both(&["-b", "", "-o", "/dev/null", "-o", "/dev/null", &some, &fields], 0);
    both(&["-c", "jar", "-o", "/dev/null", "-o", "/dev/null", &some, &fields], 0);
    both(&["-b", "cookies", "-o", "/dev/null", &fields], 0);
    both(&["-b", "cookies", "-c", "jar", "-o", "/dev/null", &some], 0);
    both(&["-j", "-b", "cookies", "-o", "/dev/null", &fields], 0);
    both(&["-b", "none", "-o", "/dev/null", &fields], 0);
    both(&["-b", "x=1; y=2", "-o", "/dev/null", &fields], 0);
    both(&["-b", "x=1", "-b", "y=2", "-b", "cookies", "-o", "/dev/null", &fields], 0);
    let shown = get(&["-k", "-b", "", "-c", "-", &set(&["a=1; Path=/"])]);
    let lines: Vec<_> = shown.text().lines().collect();
    assert_eq!(lines, ["# Netscape HTTP Cookie File", "", "127.0.0.1\tFALSE\t/\tFALSE\t0\ta\t1"]);
    let fill = |dir: &std::path::Path| fs::write(dir.join("jar"), "# a comment\n\nnonsense\n").expect("a file");
    assert_eq!(get_with(&["-k", "-b", "jar", "-o", "/dev/null", &fields], fill).text(), "");
    let failed = get(&["-k", "-c", "no/jar", &set(&["a=1"])]);
    assert_eq!((failed.code, failed.err.contains("cannot write the cookies to 'no/jar'")), (0, true), "{failed:?}");
    get(&["-k", "-b", "a=\n", &fields]).assert_failed(2, "-b 'a=\n': cannot be sent as a cookie");
}
