//! The members: sessions on connections of their own, by wtransport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use wtransport::{ClientConfig, Endpoint};

use crate::Result;
use crate::process::cpu_seconds;

pub(crate) async fn run(url: &str, count: u32, run: Duration, server: u32, json: bool) -> Result<()> {
    let config = ClientConfig::builder()
        .with_bind_address(SocketAddr::from(([127, 0, 0, 1], 0)))
        .with_no_cert_validation()
        .keep_alive_interval(Some(Duration::from_secs(10)))
        .build();
    let endpoint = Endpoint::client(config)?;
    let before = resident_kib(server)?;
    let (received, mut open) = (Arc::<AtomicU64>::default(), Vec::new());
    for _ in 0..count {
        let session = Arc::new(endpoint.connect(url).await?);
        let (member, received) = (Arc::clone(&session), Arc::clone(&received));
        tokio::spawn(async move {
            while member.receive_datagram().await.is_ok() {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
        open.push(session);
    }
    let kib = resident_kib(server)?.saturating_sub(before) as f64 / f64::from(count);
    let (begun, cpu, first) = (Instant::now(), used(server)?, received.load(Ordering::Relaxed));
    tokio::time::sleep(run).await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), used(server)? - cpu);
    let datagrams = received.load(Ordering::Relaxed) - first;
    if let Some(reason) = open.iter().find_map(|session| session.quic_connection().close_reason()) {
        return Err(format!("a connection was lost: {reason}").into());
    }
    let us = cpu * 1e6 / datagrams.max(1) as f64;
    if json {
        let rate = datagrams as f64 / seconds;
        println!(
            "{}",
            json!({ "members": count, "kib_per_member": kib, "seconds": seconds, "datagrams": datagrams,
                "datagrams_per_second": rate, "server_cpu_seconds": cpu, "server_us_per_datagram": us })
        );
    } else {
        println!(
            "{count} members of {kib:.1} KiB: {datagrams} datagrams in {seconds:.1} s, CPU server {cpu:.2} s, \
             {us:.2} us per datagram"
        );
    }
    Ok(())
}

/// CPU seconds of the server so far.
fn used(pid: u32) -> Result<f64> {
    Ok(cpu_seconds(pid).ok_or_else(|| format!("no process {pid}"))?)
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
