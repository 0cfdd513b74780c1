//! A server that is killed and restarts on its port with the same host key: clients notice with their next packet, by a
//! stateless reset (RFC 9000 section 10.3).

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::admin::metric;
use crate::support::client::Client;
use crate::support::curl;
use crate::support::server::{Guard, Server, mio_quiche, signal};
use crate::support::{DEADLINE, wait_for};

/// Far below every timeout, far above a round trip on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// A server with a host key that restarts.
pub(crate) struct Restarting {
    pub(crate) server: Server,
    key: NamedTempFile,
    args: Vec<String>,
}

impl Restarting {
    pub(crate) fn start(args: &[&str]) -> Self {
        let key = NamedTempFile::new().unwrap();
        fs::write(key.path(), [7; 32]).unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Restarting { server: serve("127.0.0.1:0", &key, &args), key, args }
    }

    /// Kills it, and starts another one in its place. Clients that send by themselves stand still meanwhile: from a port
    /// that nobody has, they would hear of the kernel that the connection is refused.
    pub(crate) fn restart(&mut self, clients: &[&Child]) {
        clients.iter().for_each(|client| signal(client, "STOP"));
        self.server.signal("KILL");
        self.server.wait(DEADLINE);
        self.server = serve(&self.server.addr().to_string(), &self.key, &self.args);
        clients.iter().for_each(|client| signal(client, "CONT"));
    }

    fn requests(&self) -> u64 {
        metric(&self.server, "mio_quiche_requests_total").unwrap()
    }
}

fn serve(listen: &str, key: &NamedTempFile, args: &[String]) -> Server {
    let args = args.iter().map(String::as_str);
    let key = ["--host-key", key.path().to_str().unwrap()];
    Server::prepared(listen, |_| {}, &key.into_iter().chain(args).collect::<Vec<_>>())
}

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

#[test]
fn get_notices_in_an_upload() {
    // K7: what comes from standard input cannot be sent again.
    let mut restarting = Restarting::start(&ADMIN);
    let url = restarting.server.url("/upload");
    let mut get = mio_quiche();
    get.args(["get", "-k", "-X", "POST", "-T", "-", &url]).stdin(Stdio::piped());
    let mut child = get.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut body = child.stdin.take().unwrap();
    body.write_all(&[1; 10_000]).unwrap();
    wait_for("the request", DEADLINE, || (restarting.requests() == 1).then_some(()));
    restarting.restart(&[&child]);
    let next = Instant::now();
    // It may have noticed already, by what was not acknowledged.
    let _ = body.write_all(&[2; 10_000]);
    let output = child.wait_with_output().unwrap();
    let what = "the connection ended: closed by a stateless reset: the peer no longer knows it";
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told), (Some(56), format!("mio-quiche: {url}: {what}\n")));
    assert!(next.elapsed() < SOON, "{:?}", next.elapsed());
    let stats = restarting.server.stop();
    assert!(stats.get("resets_sent") >= 1, "{stats:?}");
}

#[test]
fn get_repeats_a_request_that_had_no_answer() {
    // K7: it keeps its connection alive, and so notices.
    let mut restarting = Restarting::start(&["--admin", "127.0.0.1:0", "--idle-timeout", "10"]);
    let url = restarting.server.url("/slow?delay=1500");
    let mut get = mio_quiche();
    let child = get.args(["get", "-k", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the request", DEADLINE, || (restarting.requests() == 1).then_some(()));
    restarting.restart(&[&child]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "waited 1500 ms\n");
    let stats = restarting.server.stop();
    assert_eq!((stats.get("resets_sent"), stats.get("requests")), (1, 1), "{stats:?}");
}

#[test]
fn curl_notices_in_an_upload() {
    // K7
    let mut restarting = Restarting::start(&ADMIN);
    let dir = TempDir::new().unwrap();
    let body = dir.path().join("body");
    fs::write(&body, vec![1; 200_000_000]).unwrap();
    let mut curl = curl::command();
    curl.args(["--limit-rate", "2M", "-X", "POST", "-T"]).arg(&body).arg(restarting.server.url("/upload"));
    let mut curl = Guard(curl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for("the request", DEADLINE, || (restarting.requests() == 1).then_some(()));
    restarting.restart(&[&curl.0]);
    let began = Instant::now();
    let status = curl.wait("curl ends", DEADLINE);
    assert_eq!(status.code(), Some(56));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let stats = restarting.server.stop();
    assert!(stats.get("resets_sent") >= 1, "{stats:?}");
}

#[test]
fn get_and_curl_notice_in_a_download() {
    // K7: a client that reads has a new limit of flow control to repeat.
    let mut restarting = Restarting::start(&ADMIN);
    let dir = TempDir::new().unwrap();
    let url = restarting.server.url("/stream/1000000000");
    let [ours, theirs] = ["ours", "theirs"].map(|name| dir.path().join(name));
    let mut get = mio_quiche();
    get.args(["get", "-k", "--limit-rate", "4M", "-o"]).arg(&ours).arg(&url).stderr(Stdio::null());
    let mut curl = curl::command();
    curl.args(["--limit-rate", "4M", "-o"]).arg(&theirs).arg(&url).stderr(Stdio::null());
    let mut clients = [get, curl].map(|mut command| Guard(command.spawn().unwrap()));
    for file in [&ours, &theirs] {
        let has_much = || fs::metadata(file).is_ok_and(|file| file.len() > 4_000_000).then_some(());
        wait_for("some megabytes", DEADLINE, has_much);
    }
    restarting.restart(&clients.each_ref().map(|client| &client.0));
    let began = Instant::now();
    for client in &mut clients {
        assert_eq!(client.wait("the client ends", DEADLINE).code(), Some(56));
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn without_the_key_of_its_predecessor_a_server_ends_no_connection() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    client.assert_alive();
    server.signal("KILL");
    server.wait(DEADLINE);
    let mut server = Server::prepared(&server.addr().to_string(), |_| {}, &ADMIN);
    client.quic.send_ack_eliciting().unwrap();
    client.until("the reset", |_| (metric(&server, "mio_quiche_resets_sent_total") > Some(0)).then_some(()));
    // It is in the client's socket by now, and is read before the next look.
    let mut looks = 0..2;
    client.until("the reset to be read", |_| looks.next().is_none().then_some(()));
    assert!(!client.quic.is_closed());
    server.stop();
}
