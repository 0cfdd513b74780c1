//! Key log and qlog of a server.

use std::path::Path;

use super::stateless::{new_client, server};
use super::*;

fn logging(dir: &Path) -> impl Fn(&mut ServerConfig) + use<> {
    let (keylog, qlog_dir) = (dir.join("keys"), dir.join("qlogs"));
    move |config| {
        config.transport.keylog = Some(keylog.clone());
        config.transport.qlog_dir = Some(qlog_dir.clone());
    }
}

fn qlogs(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir.join("qlogs")).expect("a directory");
    files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect()
}

fn secrets(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("keys")).expect("a key log")
}

#[test]
fn first_packets_from_addresses_that_are_not_validated_leave_no_trace_on_the_disk() {
    // K13
    let dir = tempfile::tempdir().expect("a directory");
    let mut server = server(logging(dir.path()));
    for n in 0..50 {
        let mut client = new_client(n);
        let mut buf = [0; 1500];
        while let Ok((len, _)) = client.send(&mut buf) {
            server.recv(net::now(), &mut buf[..len], addr(CLIENT), addr(SERVER));
        }
        server.handle_timeouts(net::now());
        server.drive(net::now());
        while server.poll_transmit(net::now(), &mut vec![0; 65_507], 64).is_some() {}
    }
    assert_eq!((server.stats().connections, server.handshake_count()), (50, 50));
    drop(server);
    assert_eq!((qlogs(dir.path()).len(), secrets(dir.path()).as_str()), (0, ""));
}

#[test]
fn the_logs_of_a_client_that_answers_are_there_from_the_first_packet_on() {
    // K13
    let dir = tempfile::tempdir().expect("a directory");
    let mut sim = Sim::connected(Options { server: Box::new(logging(dir.path())), ..Options::default() });
    sim.get("/");
    sim.finish_all();
    let lines = secrets(dir.path());
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"] {
        assert_eq!(lines.lines().filter(|line| line.starts_with(label)).count(), 1, "{label} in {lines}");
    }
    assert_eq!(qlogs(dir.path()).len(), 1, "the file is there while the connection is open");
    drop(sim);
    let [log] = qlogs(dir.path()).try_into().expect("one file");
    let events: Vec<&str> = log.split('\u{1e}').skip(1).collect();
    assert!(events[0].contains("\"vantage_point\""), "{}", events[0]);
    assert!(events.iter().all(|event| event.ends_with("}\n")), "whole events");
    let received = events.iter().find(|event| event.contains("packet_received")).expect("a packet");
    assert!(received.contains("\"initial\"") && received.contains("\"packet_number\":0"), "{received}");
}

#[test]
fn logs_that_cannot_be_written_are_counted_and_harm_nothing() {
    // K13: the directory is removed while the server runs, and the disk of the key log is full.
    let dir = tempfile::tempdir().expect("a directory");
    let log = logging(dir.path());
    let set = move |config: &mut ServerConfig| {
        log(config);
        config.transport.keylog = Some("/dev/full".into());
    };
    let mut sim = Sim::new(Options { server: Box::new(set), ..Options::default() });
    std::fs::remove_dir(dir.path().join("qlogs")).expect("an empty directory");
    sim.run_until("the handshake", |sim| sim.client.is_established() && sim.server.handshake_count() == 0);
    const SECRETS: u64 = 5;
    assert_eq!(sim.server.stats().log_failures, SECRETS + 1);
}
