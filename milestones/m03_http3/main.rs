//! Milestone 3: HTTP/3 by hand. Every request gets the same response.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use clap::Parser;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use mio_quiche::endpoint::Event;
use mio_quiche::net::{self, EventLoop, UdpSocket};
use mio_quiche::turn::Application;
use mio_quiche::{Endpoint, Request, ResponseHead, StreamId};

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Answers every HTTP/3 request with "Hello, HTTP/3!".
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
}

const BODY: &[u8] = b"Hello, HTTP/3!\n";

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> mio_quiche::Result<()> {
    let (mut endpoint, buffer) = settings::with_certificate(|config| {
        let buffer = config.transport.socket_buffer;
        Ok((Endpoint::server(config, net::now(), net::wall_clock())?, buffer))
    })?;
    let mut event_loop = EventLoop::new(UdpSocket::bind(args.listen, buffer)?, true)?;
    println!("listening on {}", event_loop.local_addr());
    let mut hello = Hello::default();
    let mut signals = 0;
    while signals < 2 && !(signals > 0 && endpoint.is_shut_down()) {
        let wakeup = event_loop.sleep(net::now(), &endpoint, None)?;
        if wakeup.signals > 0 {
            signals += wakeup.signals;
            endpoint.shutdown();
        }
        event_loop.turn(net::now(), &mut endpoint, &mut hello)?;
    }
    println!("total: {} requests", endpoint.stats().requests);
    Ok(())
}

/// The application. Between two calls it keeps bodies that did not fit yet, by the ids of their streams.
#[derive(Default)]
struct Hello {
    unsent: HashMap<StreamId, Bytes>,
}

impl Application for Hello {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request(request) => self.answer(now, &request, endpoint),
            Event::Ready(id) => {
                if let Some(body) = self.unsent.remove(&id) {
                    self.send(now, id, body, endpoint);
                }
            }
            Event::Closed(conn, _) => self.unsent.retain(|id, _| id.conn != conn),
            _ => {}
        }
    }
}

impl Hello {
    fn answer(&mut self, now: Instant, request: &Request, endpoint: &mut Endpoint) {
        let id = request.stream_id();
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(BODY.len()));
        stream.set_head(ResponseHead { status: StatusCode::OK, headers });
        // HEAD gets the head of GET, without the body.
        let body = if request.method() == Method::HEAD { &[] } else { BODY };
        self.send(now, id, Bytes::from_static(body), endpoint);
    }

    fn send(&mut self, now: Instant, id: StreamId, mut body: Bytes, endpoint: &mut Endpoint) {
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        match stream.finish_with(&mut body) {
            // No room for all of it: `Event::Ready` follows when there is room.
            Ok(false) => {
                self.unsent.insert(id, body);
            }
            // Everything is sent, or the client stopped the stream: release it.
            Ok(true) | Err(_) => endpoint.release(now, id),
        }
    }
}
