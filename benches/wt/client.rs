//! The measured runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use wtransport::endpoint::endpoint_side;
use wtransport::{ClientConfig, Connection, Endpoint};

use crate::{Done, Result};

/// After so long without any echo, all datagrams under way are taken for lost.
const LOST: Duration = Duration::from_millis(100);

/// Body bytes written or read at a time.
const CHUNK: usize = 256 << 10;

/// A client's socket, for any number of sessions.
pub(crate) fn endpoint() -> Result<Endpoint<endpoint_side::Client>> {
    let config = ClientConfig::builder()
        .with_bind_address(SocketAddr::from(([127, 0, 0, 1], 0)))
        .with_no_cert_validation()
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .build();
    Ok(Endpoint::client(config)?)
}

/// Opens a connection with one session.
pub(crate) async fn connect(url: &str) -> Result<Connection> {
    Ok(endpoint()?.connect(url).await?)
}

/// Keeps `in_flight` datagrams under way.
pub(crate) async fn datagrams(session: &Connection, in_flight: u32, size: usize, run: Duration) -> Result<Done> {
    let until = tokio::time::Instant::now() + run;
    let mut payload = vec![0; size];
    let mut sent = 0_u64;
    let mut send = || {
        payload[..8].copy_from_slice(&sent.to_be_bytes());
        sent += 1;
        session.send_datagram(&payload)
    };
    let mut done = Done { echoes: 0, lost: 0, bytes: 0 };
    (0..in_flight).try_for_each(|_| send())?;
    let mut under_way = u64::from(in_flight);
    let mut begun = tokio::time::Instant::now();
    loop {
        let patience = until.min(begun + LOST);
        match timeout_at(patience, session.receive_datagram()).await {
            Ok(echo) => {
                if echo?.payload().len() != size {
                    return Err("an echo has another length".into());
                }
                done.echoes += 1;
                done.bytes += size as u64;
                begun = tokio::time::Instant::now();
                send()?;
            }
            Err(_) if tokio::time::Instant::now() >= until => return Ok(done),
            Err(_) => {
                done.lost += under_way;
                (0..in_flight).try_for_each(|_| send())?;
                under_way = u64::from(in_flight);
                begun = tokio::time::Instant::now();
            }
        }
    }
}

/// Keeps `in_flight` streams open, each with a payload that comes back.
pub(crate) async fn streams(session: Connection, in_flight: u32, size: usize, run: Duration) -> Result<Done> {
    let session = Arc::new(session);
    let (echoes, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let (session, echoes, over) = (Arc::clone(&session), Arc::clone(&echoes), Arc::clone(&over));
            tokio::spawn(async move {
                let payload = vec![task as u8; size];
                let mut echo = vec![0; size + 1];
                while !over.load(Ordering::Relaxed) {
                    let (mut send, mut recv) = session.open_bi().await?.await?;
                    send.write_all(&payload).await?;
                    let read = async {
                        let mut len = 0;
                        while let Some(n) = recv.read(&mut echo[len..]).await? {
                            len += n;
                            if len > size {
                                return Err("an echo is too long".into());
                            }
                        }
                        if echo[..len] == payload[..] { Ok(()) } else { Err("an echo has other bytes".into()) }
                    };
                    // finish() waits for the server's acknowledgement, which may come after the echo.
                    let (finished, read): (_, Result<()>) = tokio::join!(send.finish(), read);
                    finished?;
                    read?;
                    echoes.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
        })
        .collect();
    tokio::time::sleep(run).await;
    let count = echoes.load(Ordering::Relaxed);
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        timeout(Duration::from_secs(10), task).await.map_err(|_| "a stream hangs")???;
    }
    Ok(Done { echoes: count, lost: 0, bytes: count * size as u64 })
}

/// Sends `size` bytes on one stream and reads them back at the same time.
pub(crate) async fn bulk(session: &Connection, size: u64) -> Result<Done> {
    let (mut send, mut recv) = session.open_bi().await?.await?;
    let write = async {
        let block = vec![7; CHUNK];
        let mut left = size;
        while left > 0 {
            let len = left.min(CHUNK as u64) as usize;
            send.write_all(&block[..len]).await?;
            left -= len as u64;
        }
        send.finish().await?;
        Result::Ok(())
    };
    let read = async {
        let mut buf = vec![0; CHUNK];
        let (mut came, mut last) = (0, Instant::now());
        while let Some(len) = recv.read(&mut buf).await? {
            came += len as u64;
            last = Instant::now();
        }
        if came == size { Ok(last) } else { Err(format!("{came} of {size} bytes came back").into()) }
    };
    let (written, read): (_, Result<Instant>) = tokio::join!(write, read);
    written?;
    read?;
    Ok(Done { echoes: 1, lost: 0, bytes: size })
}
