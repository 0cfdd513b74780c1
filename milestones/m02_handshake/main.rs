//! Milestone 2: QUIC handshakes, with a qlog file for each connection and, on request, Retry.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use mio_quiche::endpoint::Event;
use mio_quiche::net::{self, EventLoop, UdpSocket};
use mio_quiche::{Endpoint, ErrorCode, RetryPolicy};

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Accepts QUIC connections and answers no requests.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// Write one qlog file per connection here
    #[arg(long, value_name = "DIR")]
    qlog_dir: Option<PathBuf>,
    /// Validate every client's address with a Retry packet
    #[arg(long)]
    retry: bool,
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(Args::parse()))
}

fn serve(args: Args) -> mio_quiche::Result<()> {
    let (mut endpoint, buffer) = settings::with_certificate(|mut config| {
        config.transport.qlog_dir = args.qlog_dir;
        config.retry = if args.retry { RetryPolicy::On } else { RetryPolicy::Off };
        let buffer = config.transport.socket_buffer;
        Ok((Endpoint::server(config, net::now(), net::wall_clock())?, buffer))
    })?;
    let mut event_loop = EventLoop::new(UdpSocket::bind(args.listen, buffer)?, true)?;
    println!("listening on {}", event_loop.local_addr());
    let mut signals = 0;
    while signals < 2 && !(signals > 0 && endpoint.is_shut_down()) {
        let wakeup = event_loop.sleep(net::now(), &endpoint, None)?;
        if wakeup.signals > 0 {
            signals += wakeup.signals;
            endpoint.shutdown();
        }
        event_loop.turn(net::now(), &mut endpoint, &mut on_event)?;
    }
    let stats = endpoint.stats();
    println!("total: {} handshakes, {} Retry packets", stats.handshakes, stats.retries);
    Ok(())
}

fn on_event(now: Instant, event: Event, endpoint: &mut Endpoint) {
    match event {
        Event::Connected(conn) => println!("connected: {conn:?}"),
        Event::Closed(conn, cause) => println!("closed: {conn:?}, {cause}"),
        // No request is served yet. This code tells the client that it may retry elsewhere.
        Event::Request(request) => {
            let id = request.stream_id();
            println!("rejected: {id:?}, {} {}", request.method(), request.path());
            if let Some(mut stream) = endpoint.stream(now, id) {
                stream.reset(ErrorCode::H3_REQUEST_REJECTED);
            }
            endpoint.release(now, id);
        }
        _ => {}
    }
}
