//! Moves to other ports in a download.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio_quiche::{ClientRequest, Error, MigrateError, Router};

use super::{Download, insecure, payload_hash, sha256};
use crate::support::local::Local;
use crate::support::server::Server;

/// A download in which the client moves to another port that many times.
fn move_in_download(moves: u64) {
    const PAUSE: Duration = Duration::from_millis(50);
    let size = (moves + 2) * 20_000_000;
    let mut server = Server::start(&[]);
    let mut client = insecure();
    let (done, result) = mpsc::channel();
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let progress = move |bytes| counter.store(bytes, Ordering::Relaxed);
    let request = ClientRequest::get(&server.url(&format!("/stream/{size}"))).unwrap();
    client.start(request, Download { digest: Some(sha256()), bytes: 0, progress, done });
    let (mut moved, mut next) = (0, Instant::now() + PAUSE);
    while client.is_busy() {
        client.turn(None).unwrap();
        if moved < moves && received.load(Ordering::Relaxed) > 0 && Instant::now() > next {
            let before = client.local_addr();
            match client.migrate() {
                Ok(()) => {
                    moved += 1;
                    next = Instant::now() + PAUSE;
                }
                Err(Error::Migrate(MigrateError::NoConnectionId)) => continue,
                Err(e) => panic!("{e}"),
            }
            assert_ne!(client.local_addr(), before);
        }
    }
    assert_eq!(result.recv().unwrap().unwrap(), (size, payload_hash(size as usize)));
    assert_eq!(moved, moves);
    client.close();
    let migrations = server.stop().get("migrations");
    // One that is followed by the next before it was validated does not count.
    assert!(migrations > moves / 2 && migrations <= moves, "{migrations}");
}

#[test]
fn a_download_survives_a_move_to_another_port() {
    move_in_download(1);
}

#[test]
fn a_download_survives_twenty_moves_to_other_ports() {
    // K1: more than the connection ids that the server gives at a time.
    move_in_download(20);
}

#[test]
fn a_client_stays_where_it_is_if_a_server_allows_no_migration() {
    // RFC 9000 section 9
    let forbid = |config: &mut mio_quiche::ServerConfig| config.transport.active_migration = false;
    let local = Local::start(forbid, || Router::new().get("/", |_req, res| res.text("here")));
    let mut client = insecure();
    let (done, result) = mpsc::channel();
    let request = ClientRequest::get(&local.url("/")).unwrap();
    client.start(request, Download { digest: Some(sha256()), bytes: 0, progress: |_: u64| {}, done });
    while client.is_busy() {
        client.turn(None).unwrap();
    }
    assert_eq!(result.recv().unwrap().unwrap().0, 4);
    let before = client.local_addr();
    assert!(matches!(client.migrate(), Err(Error::Migrate(MigrateError::Forbidden))));
    assert_eq!(client.local_addr(), before);
    client.close();
    local.stop();
}
