//! Milestone 6: QUIC datagrams, on the same port as HTTP/3.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Parser;
use mio_quiche::{DatagramError, Datagrams, Result, Router, Server};

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Answers QUIC datagrams: `burst N`, `latest N` and `size N` are commands, everything else is echoed.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
    /// Datagrams that may wait on a connection, in each direction
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: usize,
}

/// The application protocol of this chapter, for clients that want datagrams and no HTTP.
const PROTOCOL: &[u8] = b"m06";
/// Largest number in a command.
const MAX: usize = 10_000;

/// Sends `count` datagrams as large as a packet. Returns how many were refused.
fn burst(to: &mut Datagrams<'_>, count: usize) -> Result<usize, DatagramError> {
    let (len, mut refused) = (to.max_len().unwrap_or(0), 0);
    for n in 0..count {
        match to.send(format!("{:len$}", format!("{n} of {count}")).as_bytes()) {
            // There is no event when the queue has room again: a datagram refused now is lost.
            Err(DatagramError::QueueFull) => refused += 1,
            other => other?,
        }
    }
    Ok(refused)
}

/// Sends `count` states of something that changes. A new one makes waiting ones worthless.
fn latest(to: &mut Datagrams<'_>, count: usize) -> Result<usize, DatagramError> {
    let mut purged = 0;
    for n in 0..count {
        purged += to.purge(|waiting| waiting.starts_with(b"state "));
        to.send(format!("state {n}").as_bytes())?;
    }
    Ok(purged)
}

fn answer(to: &mut Datagrams<'_>, payload: &[u8]) -> Result<(), DatagramError> {
    let id = to.id();
    let command = std::str::from_utf8(payload).ok().and_then(|text| text.split_once(' '));
    let number = command.and_then(|(_, n)| n.parse::<usize>().ok()).filter(|n| *n <= MAX);
    match (command, number) {
        (Some(("burst", _)), Some(n)) => {
            println!("{id:?}: burst of {n}: {} refused, {} waiting", burst(to, n)?, to.queued());
            Ok(())
        }
        (Some(("latest", _)), Some(n)) => {
            println!("{id:?}: latest of {n}: {} purged, {} waiting", latest(to, n)?, to.queued());
            Ok(())
        }
        (Some(("size", _)), Some(n)) => to.send(&vec![b'.'; n]),
        _ => to.send(payload),
    }
}

/// Handles the datagrams of all connections; the handle is that of the sender's.
fn on_datagram(datagrams: &mut Datagrams<'_>, payload: Bytes) {
    if let Err(error) = answer(datagrams, &payload) {
        println!("{:?}: not sent: {error}", datagrams.id());
    }
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<()> {
    let router = Router::new().get("/", |_req, res| res.text("Hello, HTTP/3!\n")).quic_datagrams(on_datagram);
    let mut server = settings::with_certificate(|mut config| {
        config.transport.alpn.push(PROTOCOL.to_vec());
        config.transport.datagram_queue = Some(args.queue);
        Server::bind(&args.listen, config, router)
    })?;
    println!("listening on {}", server.local_addr());
    server.run()?;
    let stats = server.stats();
    println!("total: {} datagrams came, {} were dropped", stats.datagram_frames_in, stats.datagram_frames_dropped);
    Ok(())
}
