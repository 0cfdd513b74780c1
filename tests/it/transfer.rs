//! Large bodies: every byte arrives, with and without loss, in bounded memory, and a client that stops reading
//! harms nobody.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use ring::digest;

use crate::support::curl::{self, assert_payload, curl, curl_url, download};
use crate::support::relay::{Relay, seed};
use crate::support::server::{Server, signal};
use crate::support::{DEADLINE, payload, wait_for};

const MIB: u64 = 1 << 20;
/// Memory that transfers may take beyond what the idle server has.
const MEMORY_KIB: u64 = 32 * 1024;
const LOSS_PERCENT: u64 = 2;

/// 64 MiB, or 1 GiB with `MIO_QUICHE_BIG=1`.
fn size() -> u64 {
    match std::env::var("MIO_QUICHE_BIG").as_deref() {
        Ok("1") => 1024 * MIB,
        _ => 64 * MIB,
    }
}

/// 16 MiB where packets are lost, or 1 GiB with `MIO_QUICHE_BIG=1`.
fn lossy_size() -> u64 {
    if size() == 1024 * MIB { size() } else { 16 * MIB }
}

fn deadline(size: u64) -> Duration {
    DEADLINE + Duration::from_secs(2 * size / MIB)
}

/// The demo's payload in a file, and its SHA-256.
fn payload_file(path: &Path, size: u64) -> String {
    let piece = payload(251 * 4096);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut left = size;
    while left > 0 {
        let part = &piece[..piece.len().min(left as usize)];
        file.write_all(part).unwrap();
        sum.update(part);
        left -= part.len() as u64;
    }
    file.flush().unwrap();
    HEXLOWER.encode(sum.finish().as_ref())
}

fn upload(url: &str, path: &Path, size: u64, sha256: &str) {
    let limit = deadline(size).as_secs().to_string();
    let data = format!("@{}", path.display());
    let reply = curl_url(url, &["--max-time", &limit, "-X", "POST", "--data-binary", &data, "-H", "expect:"]);
    assert_eq!((reply.status, reply.text()), (200, &*format!("{{\"bytes\":{size},\"sha256\":\"{sha256}\"}}\n")));
}

#[test]
fn down_and_up_in_bounded_memory() {
    let size = size();
    let server = Server::start(&["--log", "warn"]);
    // Idle, but with everything that is made once.
    assert_eq!(curl(&server, "/", &[]).status, 200);
    let idle = server.memory_kib("VmRSS");
    let limit = deadline(size).as_secs().to_string();
    let path = format!("/stream/{size}");

    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("payload");
    let sum = payload_file(&file, size);

    let began = Instant::now();
    let mut body = download(&server.url(&path), &["--max-time", &limit]);
    let reply = body.finish_file(deadline(size));
    let down = began.elapsed();
    assert_eq!((reply.status, body.len(), body.sha256()), (200, size, sum.clone()));
    assert_eq!(reply.field("x-checksum"), Some(&*sum));
    let peak_down = server.memory_kib("VmHWM") - idle;

    let began = Instant::now();
    upload(&server.url("/upload"), &file, size, &sum);
    let up = began.elapsed();
    let peak = server.memory_kib("VmHWM") - idle;
    println!(
        "{size} bytes: down {down:.1?}, up {up:.1?}; idle {idle} KiB, peak +{peak_down} KiB down, +{peak} KiB both"
    );
    assert!(peak <= MEMORY_KIB, "{peak} KiB above the idle server");
}

#[test]
fn down_under_loss() {
    let size = lossy_size() as usize;
    let server = Server::start(&["--log", "warn"]);
    let relay = Relay::start(server.addr(), LOSS_PERCENT, seed());
    let began = Instant::now();
    let reply = download(&relay.url(&format!("/stream/{size}")), &[]).finish(deadline(4 * size as u64));
    let (lost, passed) = relay.counts();
    println!("{size} bytes down in {:.1?}, {lost} packets lost, {passed} not", began.elapsed());
    assert_payload(&reply, size);
    assert!(lost > 100, "{lost} packets lost of {}", lost + passed);
}

#[test]
fn up_under_loss() {
    let size = lossy_size();
    let server = Server::start(&["--log", "warn"]);
    let relay = Relay::start(server.addr(), LOSS_PERCENT, seed());
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("payload");
    let sum = payload_file(&file, size);
    let began = Instant::now();
    upload(&relay.url("/upload"), &file, size, &sum);
    let (lost, passed) = relay.counts();
    println!("{size} bytes up in {:.1?}, {lost} packets lost, {passed} not", began.elapsed());
    assert!(lost > 100, "{lost} packets lost of {}", lost + passed);
}

#[test]
fn small_answers_under_loss() {
    // The last packet of each answer is as likely to be lost as any other, and must come again.
    let mut server = Server::start(&["--log", "info"]);
    let relay = Relay::start(server.addr(), 10, seed());
    let urls: Vec<String> = (0..100).map(|n| relay.url(&format!("/stream/{}", n * 37))).collect();
    let output = curl::command().args(["--parallel", "--parallel-max", "20"]).args(&urls).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), (0..100).map(|n| n * 37).sum::<usize>());
    drop(relay);
    assert_eq!(server.stop().get("requests"), 100);
}

#[test]
fn a_client_that_stops_reading_costs_nothing() {
    let size = 64 * MIB;
    let server = Server::start(&["--log", "warn"]);
    let mut stalled = download(&server.url(&format!("/stream/{size}")), &["--limit-rate", "200M"]);
    wait_for("the download to begin", DEADLINE, || (stalled.len() > 0).then_some(()));
    signal(&stalled.child.0, "STOP");
    let before = server.memory_kib("VmRSS");
    let began = Instant::now();
    let (mut answered, mut slowest) = (0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(curl(&server, "/api/users/42", &[]).text(), "{\"id\":42,\"name\":\"Douglas\"}\n");
        slowest = slowest.max(asked.elapsed());
        answered += 1;
    }
    assert!(slowest < DEADLINE / 4, "another client waits {slowest:?}");
    let after = server.memory_kib("VmRSS");
    println!(
        "stalled at {} of {size} bytes; memory {before} -> {after} KiB; {answered} others, {slowest:.1?} at most",
        stalled.len()
    );
    assert!(stalled.len() < size, "it was still under way when it stopped");
    assert!(after.saturating_sub(before) < 20 * 1024, "memory grew from {before} to {after} KiB");
    signal(&stalled.child.0, "CONT");
    let reply = stalled.finish(deadline(size));
    assert_payload(&reply, size as usize);
}
