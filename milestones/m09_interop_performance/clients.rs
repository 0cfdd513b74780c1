//! Clients that other people wrote, each with the cases of the table.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use wtransport::endpoint::ConnectOptions;
use wtransport::{ClientConfig, Connection, Endpoint, VarInt};

use crate::check_support::{DEADLINE, Process, client, curl, http3_client, run, run_python, wait_for};
use crate::relay::Relay;

/// What a client does, each time on one new connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Hello,
    Hundred,
    Download,
    Echo,
    NewAddress,
}

pub(crate) const CASES: [Case; 5] = [Case::Hello, Case::Hundred, Case::Download, Case::Echo, Case::NewAddress];

impl Case {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Hello => "GET",
            Case::Hundred => "100 GETs",
            Case::Download => "2 MB down",
            Case::Echo => "1 MB echoed",
            Case::NewAddress => "new address",
        }
    }
}

pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    /// False if the client has no means for the case; a panic if the case fails.
    pub(crate) run: fn(SocketAddr, Case) -> bool,
}

pub(crate) const ALL: [Foreign; 5] = [
    // ngtcp2 and nghttp3 on OpenSSL, in C.
    Foreign { name: "curl", run: by_curl },
    // ngtcp2 and nghttp3 on GnuTLS, in C.
    Foreign { name: "gtlsclient", run: by_gtlsclient },
    // In Python.
    Foreign { name: "aioquic", run: by_aioquic },
    // quiche, as we, but its own loop and its own HTTP/3 client.
    Foreign { name: "http3-client", run: by_http3_client },
    // quinn, in Rust; WebTransport only, so that its requests are streams of a session.
    Foreign { name: "wtransport", run: by_wtransport },
];

const HELLO: &str = "Hello, HTTP/3!\n";
const DOWNLOAD: usize = 2_000_000;
const ECHO: usize = 1_000_000;
/// A download during which the address changes.
const LONG: usize = 16_000_000;

/// The first bytes of the text that the example has.
fn text(len: usize) -> String {
    let mut text: String = (0..len.div_ceil(8)).map(|line| format!("{line:07}\n")).collect();
    text.truncate(len);
    text
}

fn sha256(data: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(digest(&SHA256, data.as_ref()).as_ref())
}

/// Fails if the bytes are not those that they should be, without showing all of them.
fn assert_same(got: impl AsRef<[u8]>, wanted: &str) {
    let got = got.as_ref();
    assert_eq!((got.len(), sha256(got)), (wanted.len(), sha256(wanted)));
}

/// Runs a program, which must succeed.
fn output_of(command: &mut Command, input: &str) -> Vec<u8> {
    let output = run(command, input.as_bytes());
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    output.stdout
}

/// Changes the address of a download through `relay` once it is under way.
fn rebind_after(relay: &Relay, packets: u64) {
    wait_for("a part of the download", || (relay.counts().1 > packets).then_some(()));
    relay.rebind();
}

fn by_curl(server: SocketAddr, case: Case) -> bool {
    let url = |path: &str| format!("https://{server}{path}");
    match case {
        Case::Hello => assert_same(output_of(curl().arg(url("/")), ""), HELLO),
        Case::Hundred => {
            // All in one: the bodies in their order.
            let bodies = output_of(curl().arg(url("/download/[1-100]")), "");
            assert_same(bodies, &(1..=100).map(text).collect::<String>());
        }
        Case::Download => {
            assert_same(output_of(curl().arg(url(&format!("/download/{DOWNLOAD}"))), ""), &text(DOWNLOAD))
        }
        Case::Echo => {
            let echo = output_of(curl().args(["--data-binary", "@-", &url("/echo")]), &text(ECHO));
            assert_same(echo, &text(ECHO));
        }
        Case::NewAddress => {
            let relay = Relay::start(server, 0, 1);
            let dir = tempfile::tempdir().expect("a temporary directory");
            let file = dir.path().join("file");
            let mut command = curl();
            command.args(["--limit-rate", "8M", "--output"]).arg(&file).arg(relay.url(&format!("/download/{LONG}")));
            let mut curl = Process::start(&mut command);
            rebind_after(&relay, 1000);
            assert_eq!(curl.wait().code(), Some(0));
            assert_same(fs::read(file).expect("curl wrote it"), &text(LONG));
        }
    }
    true
}

fn by_gtlsclient(server: SocketAddr, case: Case) -> bool {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let fetch = |args: &[&str], paths: &[String]| {
        let mut command = Command::new(client("MIO_QUICHE_GTLSCLIENT"));
        command.args(["-q", "--exit-on-all-streams-close", "--timeout", "30s", "--download"]).arg(dir.path());
        command.args(args).args([server.ip().to_string(), server.port().to_string()]);
        command.args(paths.iter().map(|path| format!("https://{server}{path}")));
        output_of(&mut command, "");
    };
    let downloaded = |name: &str| fs::read(dir.path().join(name)).expect("each answer is a file");
    let download = format!("/download/{DOWNLOAD}");
    match case {
        Case::Hello => {
            // A file wants a name, which "/" has not.
            fetch(&[], &["/download/15".to_owned()]);
            assert_same(downloaded("15"), &text(15));
        }
        Case::Hundred => {
            fetch(&[], &(1..=100).map(|n| format!("/download/{n}")).collect::<Vec<_>>());
            (1..=100).for_each(|n| assert_same(downloaded(&n.to_string()), &text(n)));
        }
        Case::Download => {
            fetch(&[], &[download]);
            assert_same(downloaded(&DOWNLOAD.to_string()), &text(DOWNLOAD));
        }
        Case::Echo => {
            let data = dir.path().join("data");
            fs::write(&data, text(ECHO)).expect("room on the disk");
            fetch(&["--http-method=POST", "--data", data.to_str().expect("a plain path")], &["/echo".to_owned()]);
            assert_same(downloaded("echo"), &text(ECHO));
        }
        Case::NewAddress => {
            fetch(&["--change-local-addr=100ms", "--nat-rebinding", "--delay-stream=300ms"], &[download]);
            assert_same(downloaded(&DOWNLOAD.to_string()), &text(DOWNLOAD));
        }
    }
    true
}

fn by_aioquic(server: SocketAddr, case: Case) -> bool {
    let (body, wanted) = match case {
        Case::Hello => ("show(client.get('/')[1])", HELLO.to_owned()),
        Case::Hundred => (
            r"
streams = [client.request(f'/download/{n}') for n in range(1, 101)]
show(''.join(client.finished(stream) for stream in streams))",
            (1..=100).map(text).collect(),
        ),
        Case::Download => ("show(client.get('/download/2000000')[1])", text(DOWNLOAD)),
        Case::Echo => (
            r"
stream = client.request('/echo', method='POST', fin=False)
client.h3.send_data(stream, ''.join(f'{line:07}\n' for line in range(125000)).encode(), end_stream=True)
show(client.finished(stream))",
            text(ECHO),
        ),
        Case::NewAddress => (
            r"
before = client.get('/worker')
client.socket.close()
client.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.socket.bind(('127.0.0.2', 0))
client.socket.connect(client.peer)
assert client.get('/worker') == before
show(client.get('/download/2000000')[1])",
            text(DOWNLOAD),
        ),
    };
    let program = format!(
        "import hashlib, socket, sys\nfrom client import Client\n\n\
         def show(text):\n    print(len(text), hashlib.sha256(text.encode()).hexdigest())\n\n\
         client = Client(sys.argv[1])\n{body}\nclient.close()\n"
    );
    let lines = run_python(&program, &[&format!("https://{server}")]);
    assert_eq!(lines, [format!("{} {}", wanted.len(), sha256(&wanted))]);
    true
}

fn by_http3_client(server: SocketAddr, case: Case) -> bool {
    let get = |url: String| {
        let output = http3_client(&url);
        assert!(output.status.success(), "{}: {}", output.status, output.stderr);
        output.stdout
    };
    match case {
        Case::Hello => assert_same(get(format!("https://{server}/")), HELLO),
        Case::Download => assert_same(get(format!("https://{server}/download/{DOWNLOAD}")), &text(DOWNLOAD)),
        Case::NewAddress => {
            let relay = Relay::start(server, 0, 1);
            let url = relay.url(&format!("/download/{LONG}"));
            let got = std::thread::scope(|scope| {
                let got = scope.spawn(|| get(url));
                rebind_after(&relay, 100);
                got.join().expect("a download")
            });
            assert_same(got, &text(LONG));
        }
        // It sends one GET.
        Case::Hundred | Case::Echo => return false,
    }
    true
}

/// What a stream of the session brings back.
async fn echo(session: &Connection, text: &str) -> String {
    let (mut send, mut recv) = session.open_bi().await.expect("credit").await.expect("a stream");
    let write = async {
        send.write_all(text.as_bytes()).await.expect("the server reads");
        send.finish().await.expect("the server acknowledges");
    };
    let read = async {
        let (mut all, mut buf) = (Vec::new(), vec![0; 64 * 1024]);
        while let Some(len) = recv.read(&mut buf).await.expect("the server echoes") {
            all.extend_from_slice(&buf[..len]);
        }
        String::from_utf8(all).expect("text")
    };
    tokio::join!(write, read).1
}

fn by_wtransport(server: SocketAddr, case: Case) -> bool {
    let relay = Relay::start(server, 0, 1);
    let url = relay.url("/echoes");
    // As a page of the server's own origin.
    let options = ConnectOptions::builder(&url).add_header("origin", relay.url("")).build();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ClientConfig::builder().with_bind_address(any).with_no_cert_validation().build();
    let visit = async {
        let endpoint = Endpoint::client(config).expect("a client");
        let session = Arc::new(endpoint.connect(options).await.expect("a session"));
        match case {
            Case::Hello => assert_same(echo(&session, HELLO).await, HELLO),
            Case::Hundred => {
                let mut echoes = tokio::task::JoinSet::new();
                for n in 1..=100 {
                    let session = Arc::clone(&session);
                    echoes.spawn(async move { assert_same(echo(&session, &text(n)).await, &text(n)) });
                }
                assert!(echoes.join_all().await.len() == 100);
            }
            Case::Echo => assert_same(echo(&session, &text(ECHO)).await, &text(ECHO)),
            Case::NewAddress => {
                assert_same(echo(&session, HELLO).await, HELLO);
                relay.rebind();
                assert_same(echo(&session, &text(ECHO)).await, &text(ECHO));
            }
            // Only requests have responses.
            Case::Download => unreachable!(),
        }
        session.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
    };
    if case == Case::Download {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(DEADLINE, visit).await }).expect("nothing hangs");
    true
}
