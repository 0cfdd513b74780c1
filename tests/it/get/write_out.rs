//! `-w`: the same text as curl's, and where it goes.

use std::fs;

use serde_json::Value;

use super::as_curl::both;
use super::servers::aioquic;
use super::{get, get_input, get_with};
use crate::support::curl;
use crate::support::server::Server;

/// The variables that both must agree on, unless times or ports come into it.
const FORMAT: &str = "%{content_type}|%{exitcode}|%{filename_effective}|%{http_code}|%{http_connect}|%{http_version}|\
    %{local_ip}|%{method}|%{num_certs}|%{num_connects}|%{num_headers}|%{num_redirects}|%{num_retries}|%{redirect_url}|\
    %{referer}|%{remote_ip}|%{remote_port}|%{response_code}|%{scheme}|%{size_delivered}|%{size_download}|\
    %{size_header}|%{size_request}|%{size_upload}|%{time_redirect}|%{tls_earlydata}|%{url}|%{url_effective}|%{urlnum}|\
    %{conn_id}|%{xfer_id}|%{url.host}|%{url.port}|%{url.path}|%{url.query}|%{urle.path}|%{urle.fragment}|%{ftp_entry_path}\n";

#[test]
fn as_curl() {
    let server = Server::with_files(|root| fs::write(root.join("file"), "1234").expect("a file"), &[]);
    let url = |path: &str| server.url(path);
    let (file, echo) = (url("/files/file"), url("/api/echo?a=b"));
    both(&["-A", "x", "-w", FORMAT, &file], 0);
    both(&["-A", "x", "-w", FORMAT, "-o", "here", &file, &url("/api/users/1")], 0);
    both(&["-A", "x", "-e", "https://from.example/", "-d", "abc", "-w", FORMAT, &echo], 0);
    both(&["-A", "x", "-I", "-w", FORMAT, "-o", "head", &file], 0);
    both(&["-A", "x", "-f", "-w", FORMAT, "-o", "none", &url("/nowhere")], 22);
    let format = "%header{Content-Type}|%header{none}|%header{content-length}|%%|%q|\\q|\\n\\t\\\\|%{|%";
    both(&["-w", format, &file], 0);
    both(&["-w", "%{onerror}%{exitcode}", &file], 0);
    both(&["-f", "-w", "%{http_code}%{onerror} failed %{exitcode}", &url("/nowhere")], 22);
    for (sinks, files) in [("%{stderr}err%{stdout}out", None), ("a%output{one}b%output{>>one}c", Some("bc"))] {
        let (theirs, ours) = both(&["-w", sinks, &file], 0);
        for dir in [&theirs, &ours] {
            assert_eq!(fs::read_to_string(dir.path().join("one")).ok().as_deref(), files);
        }
    }
    let shown = get(&["-k", "-o", "file", "-w", "%{stderr}%{http_code}\\n%{stdout}out", &file]);
    assert_eq!((shown.err.as_str(), &shown.out[..]), ("200\n", &b"out"[..]));
}

#[test]
fn redirects() {
    let server = aioquic(&[]);
    let two = server.url("/redirect/302//redirect/301//fields");
    let format = "%{http_code} %{num_redirects} %{num_connects} %{size_header} %{size_request} %{url} %{url_effective} \
                  %{redirect_url}\n";
    for args in [&["-L"][..], &[]] {
        both(&[args, &["-A", "x", "-w", format, "-o", "file", &two]].concat(), 0);
    }
    let shown = get(&["-kL", "-o", "file", "-w", "%{time_redirect} %{time_starttransfer} %{time_total}", &two]);
    let times: Vec<f64> = shown.text().split(' ').map(|time| time.parse().expect("seconds")).collect();
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
}

/// Members of `%{json}` that are none of curl's business, or of ours, or differ by chance.
const OWN: [&str; 6] = ["certs", "conn_id", "curl_version", "errormsg", "local_port", "ssl_verify_result"];

#[test]
fn json() {
    let server = Server::start(&[]);
    let args = ["-A", "x", "-w", "%{json}", "-o", "file"];
    for (url, code) in [(server.url("/?q"), 0), ("https://127.0.0.1:1/".to_owned(), 7)] {
        let done = curl::command().args(args).arg(&url).current_dir(server.dir()).output().expect("curl runs");
        assert_eq!(done.status.code(), Some(code));
        let theirs: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        let ended = get(&[&["-k"], &args[..], &[&url]].concat());
        assert_eq!(ended.code, code);
        let ours: Value = serde_json::from_slice(&ended.out).expect("JSON");
        let (theirs, ours) = (theirs.as_object().expect("an object"), ours.as_object().expect("an object"));
        let is_common = |name: &&String| *name != "curl_version";
        let names: Vec<_> = theirs.keys().filter(is_common).collect();
        assert_eq!(ours.keys().collect::<Vec<_>>(), names);
        let is_time = |name: &str| name.starts_with("time_") || name.starts_with("speed_");
        for name in names.into_iter().filter(|name| !OWN.contains(&name.as_str())) {
            if is_time(name) {
                assert!(ours[name].is_number(), "{name}: {}", ours[name]);
            } else {
                assert_eq!(ours[name], theirs[name], "{name}");
            }
        }
        let pem = ours["certs"].as_str().expect("text");
        assert_eq!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), code == 0, "{pem}");
        assert!(code != 0 || theirs["certs"].as_str().expect("text").contains(pem), "{pem}");
    }
    let both = get(&["-k", "-w", "%{header_json}", "-o", "file", &server.url("/")]);
    let fields: Value = serde_json::from_slice(&both.out).expect("JSON");
    assert_eq!(fields["content-length"], serde_json::json!(["15"]));
}

#[test]
fn times_of_names() {
    let server = Server::start(&[]);
    let url = format!("https://localhost:{}/", server.port());
    let format = "%{time_namelookup} %{time_connect} %{time_starttransfer} %{time_total}";
    let shown = get(&["-k", "-o", "file", "-w", format, &url]);
    let times: Vec<f64> = shown.text().split(' ').map(|time| time.parse().expect("seconds")).collect();
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
}

#[test]
fn formats() {
    let server = Server::start(&[]);
    let url = server.url("/");
    let fill = |dir: &std::path::Path| fs::write(dir.join("format"), "%{http_code}\n").expect("a file");
    assert_eq!(get_with(&["-k", "-w", "@format", "-o", "body", &url], fill).text(), "200\n");
    assert_eq!(get_input(&["-k", "-w", "@-", "-o", "body", &url], b"<%{exitcode}>").text(), "<0>");
    let why = "cannot read 'none': No such file or directory (os error 2) (-w)";
    get(&["-k", "-w", "@none", &url]).assert_failed(26, why);
    let unknown = get(&["-k", "-w", "<%{nope}>", "-o", "body", &url]);
    assert_eq!((unknown.code, &unknown.out[..]), (0, &b"<>"[..]));
    assert_eq!(unknown.err, "mio-quiche: -w: there is no variable 'nope' (see --help)\n");
    get(&["-k", "-w", "%output{no/file}x", "-o", "body", &url])
        .assert_failed(23, "cannot write to 'no/file': No such file or directory (os error 2) (-w)");
    let help = crate::support::server::mio_quiche().args(["get", "--help"]).output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let shown = get(&["-k", "-w", "%{json}", "-o", "body", &url]);
    let names: Value = serde_json::from_slice(&shown.out).expect("JSON");
    let names = names.as_object().expect("an object").keys().filter(|name| !name.contains('.'));
    // Those of other protocols and of proxies go without saying.
    let other = ["ftp_entry_path", "http_connect", "proxy_ssl_verify_result", "proxy_used"];
    for name in names.filter(|name| !other.contains(&name.as_str())) {
        assert!(help.contains(&format!(" {name}")), "{name}");
    }
}
