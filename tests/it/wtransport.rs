//! wtransport: WebTransport with quinn, a QUIC in Rust that is not quiche, also where packets are lost.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::{Router, Session, SessionHandle, SessionHandler};
use serde_json::{Value, json};
use wtransport::endpoint::ConnectOptions;
use wtransport::error::ConnectionError;
use wtransport::{ClientConfig, Connection, Endpoint, RecvStream, VarInt};

use crate::support::curl::curl;
use crate::support::local::Local;
use crate::support::relay::{Relay, seed};
use crate::support::server::Server;
use crate::support::{DEADLINE, wait_for};

/// Runs a client with a session at `url` to its end, which is a closed connection.
fn client<T>(url: &str, deadline: Duration, run: impl AsyncFnOnce(&Arc<Connection>) -> T) -> T {
    // As a page of the server's own origin.
    let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let options = ConnectOptions::builder(url).add_header("origin", origin).build();
    let config =
        ClientConfig::builder().with_bind_address("127.0.0.1:0".parse().unwrap()).with_no_cert_validation().build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async {
        let endpoint = Endpoint::client(config).unwrap();
        let session = Arc::new(endpoint.connect(options).await.unwrap());
        let result = run(&session).await;
        // Without effect on one that is closed.
        session.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
        result
    };
    runtime.block_on(async { tokio::time::timeout(deadline, whole).await }).expect("nothing hangs")
}

async fn read_all(recv: &mut RecvStream) -> String {
    let (mut all, mut buf) = (Vec::new(), [0; 4096]);
    while let Some(len) = recv.read(&mut buf).await.unwrap() {
        all.extend_from_slice(&buf[..len]);
    }
    String::from_utf8(all).unwrap()
}

/// What a stream of ours brings back for `text`.
async fn echo(session: &Connection, text: &str) -> String {
    let (mut send, mut recv) = session.open_bi().await.unwrap().await.unwrap();
    send.write_all(text.as_bytes()).await.unwrap();
    // finish() waits for the acknowledgement as well, which may be the last that comes.
    let (finished, echo) = tokio::join!(send.finish(), read_all(&mut recv));
    finished.unwrap();
    echo
}

/// Echoes `count` streams, 16 at a time.
async fn many_echoes(session: &Arc<Connection>, count: usize) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        if tasks.len() == 16 {
            tasks.join_next().await.unwrap().unwrap();
        }
        let session = Arc::clone(session);
        tasks.spawn(async move {
            let text = format!("stream {n} ").repeat(n % 40 + 1);
            assert_eq!(echo(&session, &text).await, text);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[test]
fn datagrams_and_streams() {
    let mut server = Server::start(&[]);
    client(&server.url("/wt/echo"), DEADLINE, async |session| {
        for n in 0..100 {
            let text = format!("datagram {n}");
            session.send_datagram(&text).unwrap();
            assert_eq!(&*session.receive_datagram().await.unwrap().payload(), text.as_bytes());
        }
        assert_eq!(echo(session, "bidi").await, "bidi");
        assert_eq!(echo(session, "").await, "");
        for text in ["uni", ""] {
            let mut send = session.open_uni().await.unwrap().await.unwrap();
            send.write_all(text.as_bytes()).await.unwrap();
            send.finish().await.unwrap();
            assert_eq!(read_all(&mut session.accept_uni().await.unwrap()).await, text);
        }
    });
    server.stop();
}

#[test]
fn streams_that_the_server_opens() {
    let mut server = Server::start(&[]);
    client(&server.url("/wt/echo?open=10"), DEADLINE, async |session| {
        let mut greetings = Vec::new();
        for _ in 0..10 {
            let (mut send, mut recv) = session.accept_bi().await.unwrap();
            send.write_all(b"and back").await.unwrap();
            let (finished, all) = tokio::join!(send.finish(), read_all(&mut recv));
            finished.unwrap();
            greetings.push(all);
        }
        greetings.sort();
        let expected: Vec<_> = (0..10).map(|n| format!("server stream {n}\nand back")).collect();
        assert_eq!(greetings, expected);
    });
    server.stop();
}

fn closes(server: &Server) -> Value {
    serde_json::from_str(curl(server, "/wt/closes", &[]).text()).unwrap()
}

#[test]
fn the_server_closes() {
    let mut server = Server::start(&[]);
    for (query, code, reason) in
        [("code=7&reason=enough", 7, "enough"), ("code=4294967295", u32::MAX, ""), ("code=30&on=datagram", 30, "")]
    {
        client(&server.url(&format!("/wt/close?{query}")), DEADLINE, async |session| {
            if query.contains("datagram") {
                session.send_datagram(b"now").unwrap();
            }
            match session.accept_bi().await.unwrap_err() {
                ConnectionError::ApplicationClosed(close) => {
                    assert_eq!((close.code(), close.reason()), (VarInt::from_u32(code), reason.as_bytes()));
                }
                other => panic!("{query}: {other:?}"),
            }
        });
        let ended = json!([{ "path": "/wt/close", "by": "us", "code": code, "reason": reason }]);
        assert_eq!(closes(&server), ended, "{query}");
    }
    server.stop();
}

#[test]
fn the_client_closes() {
    let mut server = Server::start(&[]);
    client(&server.url("/wt/echo"), DEADLINE, async |session| {
        assert_eq!(echo(session, "open").await, "open");
        // wtransport closes the connection with this code and sends no capsule.
        session.close(VarInt::from_u32(9), b"bye");
    });
    let ended = wait_for("the session's end", DEADLINE, || Some(closes(&server)).filter(|list| *list != json!([])));
    let reason = "closed by the peer with 0x9 (bye)";
    assert_eq!(ended, json!([{ "path": "/wt/echo", "by": "connection", "code": 0, "reason": reason }]));
    server.stop();
}

/// Sends `count` unidirectional streams and takes the answers on as many of the server's.
async fn many_unidirectional(session: &Arc<Connection>, count: usize) {
    let text = |n: usize| format!("stream {n} ").repeat(n % 40 + 1);
    let sender = Arc::clone(session);
    let sending = tokio::spawn(async move {
        for n in 0..count {
            let mut send = sender.open_uni().await.unwrap().await.unwrap();
            send.write_all(text(n).as_bytes()).await.unwrap();
            send.finish().await.unwrap();
        }
    });
    let mut answers = Vec::new();
    while answers.len() < count {
        answers.push(read_all(&mut session.accept_uni().await.unwrap()).await);
    }
    sending.await.unwrap();
    let mut expected: Vec<_> = (0..count).map(text).collect();
    answers.sort();
    expected.sort();
    assert_eq!(answers, expected);
}

#[test]
fn three_hundred_streams_of_each_kind() {
    let mut server = Server::start(&[]);
    client(&server.url("/wt/echo"), DEADLINE, async |session| {
        many_echoes(session, 300).await;
        many_unidirectional(session, 300).await;
    });
    server.stop();
}

/// Three runs of 300 streams under loss, or as many as `MIO_QUICHE_LOSS_RUNS` says. For ten, by hand:
/// `MIO_QUICHE_LOSS_RUNS=10 cargo test --test it under_loss -- --nocapture`
fn loss_runs() -> u64 {
    std::env::var("MIO_QUICHE_LOSS_RUNS").map_or(3, |runs| runs.parse().unwrap())
}

fn streams_under_loss(percent: u64) {
    // The close of a connection may be lost, too.
    let mut server = Server::start(&["--shutdown-timeout", "1"]);
    let seed = seed();
    for run in 0..loss_runs() {
        let relay = Relay::start(server.addr(), percent, seed.wrapping_add(2 * run));
        let began = Instant::now();
        client(&relay.url("/wt/echo"), 3 * DEADLINE, async |session| {
            many_echoes(session, 300).await;
            many_unidirectional(session, 30).await;
        });
        let (lost, passed) = relay.counts();
        println!("run {run}: 300 streams in {:.1?}, {lost} packets lost, {passed} not", began.elapsed());
        assert!(lost > 0, "no packet was lost of {passed}");
    }
    server.stop();
}

#[test]
fn three_hundred_streams_under_loss_of_3_percent() {
    streams_under_loss(3);
}

#[test]
fn three_hundred_streams_under_loss_of_5_percent() {
    streams_under_loss(5);
}

/// Passes each datagram on to every member, its sender included, as a stream. "close" ends all sessions.
struct Member(Rc<RefCell<Vec<SessionHandle>>>);

impl SessionHandler for Member {
    fn opened(&mut self, s: &mut Session<'_>) -> mio_quiche::Result<()> {
        self.0.borrow_mut().push(s.handle());
        Ok(())
    }

    fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> mio_quiche::Result<()> {
        let mut members = self.0.borrow_mut();
        members.retain(|member| !member.is_closed());
        for member in members.iter() {
            match &*payload {
                b"close" => member.close(9, "closing time").unwrap(),
                _ => member.send_stream(payload.clone()).unwrap(),
            }
        }
        Ok(())
    }
}

#[test]
fn what_one_session_says_comes_to_all() {
    const MEMBERS: usize = 10;
    let allow = |config: &mut mio_quiche::ServerConfig| config.webtransport.allow_origins.push("*".to_owned());
    let local = Local::start(allow, || {
        let members = Rc::default();
        Router::new().webtransport("/chat", move |req| req.accept(Member(Rc::clone(&members))))
    });
    let url = local.url("/chat");
    client(&url, DEADLINE, async |first| {
        let config =
            ClientConfig::builder().with_bind_address("127.0.0.1:0".parse().unwrap()).with_no_cert_validation().build();
        let endpoint = Endpoint::client(config).unwrap();
        let mut sessions = vec![Arc::clone(first)];
        for _ in 1..MEMBERS {
            let options = ConnectOptions::builder(&url).add_header("origin", "https://localhost").build();
            sessions.push(Arc::new(endpoint.connect(options).await.unwrap()));
        }
        for (n, speaker) in sessions.iter().enumerate() {
            let text = format!("member {n} speaks");
            speaker.send_datagram(&text).unwrap();
            for listener in &sessions {
                assert_eq!(read_all(&mut listener.accept_uni().await.unwrap()).await, text);
            }
        }
        // One leaves, which the others do not notice.
        sessions.pop().unwrap().close(VarInt::from_u32(0), b"");
        first.send_datagram("close").unwrap();
        for session in &sessions {
            match session.accept_bi().await.unwrap_err() {
                ConnectionError::ApplicationClosed(close) => {
                    assert_eq!((close.code(), close.reason()), (VarInt::from_u32(9), &b"closing time"[..]));
                }
                other => panic!("{other:?}"),
            }
        }
    });
    local.stop();
}
