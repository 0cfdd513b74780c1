//! A transfer under way, and what is known of it when it has ended.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use mio_quiche::app::RequestId;

use super::failure::Problem;
use super::jobs::Job;
use super::output::Output;
use super::transfer::State;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Counted from 0.
    pub(super) number: usize,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// The server's own, in DER.
    pub(super) certificate: Option<Vec<u8>>,
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) job: Job,
    pub(super) id: RequestId,
    pub(super) state: Rc<RefCell<State>>,
    pub(super) output: Rc<RefCell<Output>>,
    pub(super) started: Instant,
    pub(super) url: String,
    pub(super) method: Method,
    pub(super) has_body: bool,
    pub(super) redirects: usize,
    /// The request's head, for `-v`.
    pub(super) head: String,
    pub(super) migrated: bool,
    pub(super) resumed: bool,
    /// The connection of the last request.
    pub(super) link: Option<Rc<Link>>,
    /// Connections made for this transfer.
    pub(super) connects: usize,
    /// The time that redirects took.
    pub(super) redirected: Duration,
    /// Bytes of the head of the last request.
    pub(super) head_size: u64,
    /// Bytes of heads, of earlier requests and responses, as text.
    pub(super) request_size: u64,
    pub(super) header_size: u64,
    /// Bytes of the body that are there already (`-C`).
    pub(super) resume_from: u64,
    pub(super) retries: u32,
    /// Of the first try.
    pub(super) began: Instant,
    /// The last pause between tries.
    pub(super) pause: Duration,
}

/// A finished transfer.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) given: String,
    pub(super) url: String,
    pub(super) number: usize,
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) referer: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) link: Option<Rc<Link>>,
    pub(super) connects: usize,
    pub(super) redirects: usize,
    pub(super) redirect_url: Option<String>,
    pub(super) retries: u32,
    pub(super) status: Option<u16>,
    pub(super) fields: HeaderMap,
    pub(super) request_size: u64,
    pub(super) header_size: u64,
    /// Bytes of the body as they came, and as they were written.
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) sent: u64,
    pub(super) resumed: bool,
    pub(super) early: bool,
    pub(super) times: Times,
    pub(super) error: Option<String>,
    pub(super) exit_code: u8,
}

/// Since the beginning of the transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) name_lookup: Option<Duration>,
    /// The request was sent: the connection was there.
    pub(super) connect: Option<Duration>,
    /// The request's body was sent.
    pub(super) sent: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) redirect: Duration,
    pub(super) total: Duration,
}

impl Active {
    /// What is known of the transfer. `looked_up`: when the host's addresses were known.
    pub(super) fn facts(&self, problem: Option<&Problem>, now: Instant, looked_up: Option<Instant>) -> Facts {
        let state = self.state.borrow();
        let since = |at: Instant| at.saturating_duration_since(self.started);
        let location = state.location.as_deref();
        let target = |location: &str| url::Url::parse(&self.url).and_then(|url| url.join(location)).ok();
        Facts {
            given: self.job.given.clone(),
            url: self.url.clone(),
            number: self.job.number,
            id: self.job.id,
            method: self.method.clone(),
            referer: None,
            file: self.output.borrow().path().cloned(),
            link: self.link.clone(),
            connects: self.connects,
            redirects: self.redirects,
            redirect_url: location.and_then(target).map(String::from),
            retries: self.retries,
            status: state.status,
            fields: state.fields.clone(),
            request_size: self.request_size + state.sent_at.map_or(0, |_| self.head_size) + state.sent,
            header_size: self.header_size + state.header_size,
            received: state.received,
            delivered: state.delivered,
            sent: state.sent,
            resumed: self.resumed,
            early: state.early,
            times: Times {
                name_lookup: looked_up.filter(|at| *at > self.started).map(since),
                connect: state.sent_at.map(since),
                sent: state.sent_all_at.map(since),
                first_byte: state.first_byte_at.map(since),
                redirect: self.redirected,
                total: since(now),
            },
            error: problem.map(|problem| problem.message.clone()),
            exit_code: problem.map_or(0, |problem| problem.code),
        }
    }
}
