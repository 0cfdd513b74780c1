//! Sends waiting requests when a connection has credit, and fails them when they time out.

use std::time::Instant;

use super::core::ClientCore;
use super::error::ClientError;
use super::handler::Cx;
use super::request::{ClientRequest, Origin};
use super::waiting::Waiting;
use crate::endpoint::{Endpoint, RequestError};

impl ClientCore {
    /// Sends waiting requests on connections with credit.
    pub(super) fn send_waiting(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        self.open_waiting_datagrams(now, cx.endpoint);
        let mut blocked: Vec<Origin> = Vec::new();
        let mut left = self.waiting.len();
        while left > 0 {
            left -= 1;
            let Some(waiting) = self.waiting.pop_front() else { return };
            let (request, for_session) = (waiting.request(), matches!(waiting, Waiting::Session(_)));
            let origin = request.origin.clone();
            if !for_session && blocked.contains(&origin) {
                self.waiting.push_back(waiting);
                continue;
            }
            let free = if for_session { self.pool.pick_for_session(&origin) } else { None };
            let picked = free.or_else(|| self.pool.pick(now, &origin, for_session, cx.endpoint));
            let Some(conn) = picked else {
                self.waiting.push_back(waiting);
                continue;
            };
            // Only safe methods may be replayed (RFC 8470).
            let waits = cx.endpoint.is_early(conn) && !request.head.method.is_safe();
            let was_blocked = self.pool.is_blocked(conn);
            let sent = match waits || was_blocked {
                true => Err(RequestError::Blocked),
                false => {
                    let head = self.pool.head_for(conn, &request.head);
                    #[cfg(feature = "cookies")]
                    let head = match self.cookies.as_ref().filter(|_| !for_session) {
                        Some(cookies) => cookies.add_to(&request.url, head),
                        None => head,
                    };
                    cx.endpoint.request(conn, &head, !request.has_body)
                }
            };
            match (sent, waiting) {
                (Ok(id), Waiting::Request(running)) => {
                    self.pool.began(conn);
                    self.running.insert(id, running);
                    self.poll(id, None, cx);
                }
                (Ok(id), Waiting::Session(pending)) => {
                    self.pool.began(conn);
                    self.pending.insert(id, pending);
                }
                // Another connection may have credit.
                (Err(RequestError::Blocked), waiting) if !waits && !was_blocked => {
                    self.pool.block(conn);
                    self.waiting.push_front(waiting);
                    left += 1;
                }
                (Err(RequestError::Blocked), waiting) => {
                    if !for_session && !waits {
                        self.pool.grow(now, &origin, cx.endpoint);
                        blocked.push(origin);
                    }
                    self.waiting.push_back(waiting);
                }
                (Err(RequestError::GoingAway | RequestError::Closed | RequestError::HasSessions), waiting) => {
                    if let Some(pooled) = self.pool.conns.get_mut(&conn) {
                        pooled.closed_to_new = true;
                    }
                    self.waiting.push_back(waiting);
                }
                (Err(error), waiting) => waiting.fail(error.into(), cx),
            }
        }
    }

    /// Opens datagram handlers whose connection is established. Each has its own.
    fn open_waiting_datagrams(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for (origin, mut handler) in std::mem::take(&mut self.waiting_datagrams) {
            let picked = self.pool.pick_unused(now, &origin, endpoint);
            let known = picked.and_then(|conn| Some((conn, endpoint.has_http_datagrams(conn)?)));
            let Some((conn, is_http)) = known else {
                self.waiting_datagrams.push((origin, handler));
                continue;
            };
            self.pool.began(conn);
            match endpoint.datagrams(conn).filter(|_| !is_http) {
                Some(mut datagrams) => {
                    handler.opened(&mut datagrams);
                    self.datagrams.insert(conn, handler);
                }
                None => {
                    handler.failed(&ClientError::HttpDatagrams);
                    self.pool.ended(now, conn, endpoint);
                }
            }
        }
    }

    /// Fails everything that waits for a connection to this origin.
    pub(super) fn fail_waiting(&mut self, origin: &Origin, error: &ClientError, cx: &mut Cx<'_>) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.request().origin == *origin {
                true => waiting.fail(error.clone(), cx),
                false => self.waiting.push_back(waiting),
            }
        }
        for (theirs, mut handler) in std::mem::take(&mut self.waiting_datagrams) {
            match theirs == *origin {
                true => handler.failed(error),
                false => self.waiting_datagrams.push((theirs, handler)),
            }
        }
    }

    /// Fails the requests that timed out.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let is_late = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let error = |request: &ClientRequest| ClientError::Timeout(request.timeout.unwrap_or_default().as_secs_f64());
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else { break };
            match is_late(waiting.deadline()) {
                true => {
                    let error = error(waiting.request());
                    waiting.fail(error, cx);
                }
                false => self.waiting.push_back(waiting),
            }
        }
        let late: Vec<_> = self.running.iter().filter(|(_, running)| is_late(running.deadline)).collect();
        let late: Vec<_> = late.into_iter().map(|(id, running)| (*id, error(&running.request))).collect();
        for (id, error) in late {
            self.end(id, Err(error), cx);
        }
        let late: Vec<_> =
            self.pending.iter().filter(|(_, pending)| is_late(pending.deadline)).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(mut pending) = self.pending.remove(&id) {
                pending.handler.failed(&error(&pending.request));
            }
            self.leave_asked(id, cx);
        }
    }
}
