//! A solution of milestone 3's exercise: `/slow` is answered after a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mio_quiche::endpoint::Event;
use mio_quiche::turn::Application;
use mio_quiche::{Endpoint, ResponseHead, StreamId};

/// Answers `/slow` after a second, and everything else at once.
#[derive(Default)]
pub(crate) struct Hello {
    /// Bodies that wait, each with the time before which it is not sent.
    waiting: HashMap<StreamId, (Instant, Bytes)>,
}

impl Application for Hello {
    fn on_event(&mut self, now: Instant, event: Event, endpoint: &mut Endpoint) {
        match event {
            Event::Request(request) => {
                let id = request.stream_id();
                let Some(mut stream) = endpoint.stream(now, id) else { return };
                stream.set_head(ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() });
                let delay = Duration::from_secs(if request.path() == "/slow" { 1 } else { 0 });
                let body = Bytes::from(format!("Hello, {}!\n", request.path()));
                self.send(now, id, now + delay, body, endpoint);
            }
            Event::Ready(id) => {
                if let Some((due, body)) = self.waiting.remove(&id) {
                    self.send(now, id, due, body, endpoint);
                }
            }
            Event::Closed(conn, _) => self.waiting.retain(|id, _| id.conn != conn),
            _ => {}
        }
    }
}

impl Hello {
    fn send(&mut self, now: Instant, id: StreamId, due: Instant, mut body: Bytes, endpoint: &mut Endpoint) {
        let Some(mut stream) = endpoint.stream(now, id) else { return };
        if now < due {
            stream.wake_at(due);
            self.waiting.insert(id, (due, body));
            return;
        }
        match stream.finish_with(&mut body) {
            Ok(false) => {
                self.waiting.insert(id, (due, body));
            }
            Ok(true) | Err(_) => endpoint.release(now, id),
        }
    }
}
