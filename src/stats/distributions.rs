//! Distributions by what they belong to: an endpoint, the loop that runs it, the server's requests.

use std::io;

use super::histogram::{Histogram, REQUESTS, ROUND_TRIPS, STREAMS, TURNS, WINDOWS};

/// Distributions of an endpoint since its creation.
///
/// Of each connection whose handshake is complete, round-trip time and congestion window are sampled once it has ended,
/// and while it is in use every ten seconds at most. A busy connection therefore counts more than a short one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distributions {
    /// Smoothed round-trip times (RFC 9002 section 5.3) of the paths in use, in nanoseconds.
    pub round_trips: Histogram,
    /// Congestion windows (RFC 9002 section 7) of the paths in use, in bytes.
    pub congestion_windows: Histogram,
    /// Streams of the WebTransport sessions that have ended, opened by either side.
    pub session_streams: Histogram,
}

impl Default for Distributions {
    fn default() -> Self {
        Distributions {
            round_trips: Histogram::new(&ROUND_TRIPS),
            congestion_windows: Histogram::new(&WINDOWS),
            session_streams: Histogram::new(&STREAMS),
        }
    }
}

impl Distributions {
    /// Adds those of another endpoint.
    pub fn add(&mut self, other: &Distributions) {
        self.round_trips.add(&other.round_trips);
        self.congestion_windows.add(&other.congestion_windows);
        self.session_streams.add(&other.session_streams);
    }
}

/// System calls by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Syscalls {
    /// Those that moved datagrams.
    pub ok: u64,
    /// Those for which nothing waited, or for which the socket was full.
    pub would_block: u64,
    /// Those that failed otherwise.
    pub failed: u64,
}

impl Syscalls {
    pub(crate) fn count<T>(&mut self, result: &io::Result<T>) {
        *match result {
            Ok(_) => &mut self.ok,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => &mut self.would_block,
            Err(_) => &mut self.failed,
        } += 1;
    }

    /// Adds those of another socket.
    pub fn add(&mut self, other: &Syscalls) {
        self.ok += other.ok;
        self.would_block += other.would_block;
        self.failed += other.failed;
    }
}

/// What an event loop has done since its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoopStats {
    /// Calls that receive: each takes a batch (recvmmsg), if the system can.
    pub receive_calls: Syscalls,
    /// Calls that send: each takes datagrams of equal size to one address (sendmsg with GSO), if the system can.
    pub send_calls: Syscalls,
    /// The time from the end of a sleep to the beginning of the next, in nanoseconds: a datagram that arrives meanwhile
    /// waits so long at most before it is seen.
    pub turns: Histogram,
    /// Of each turn, the time in the application, in nanoseconds: handlers, and the writing of what they return.
    pub handlers: Histogram,
    /// How late the earliest timer was in the turns that ran any, in nanoseconds. The system wakes the loop up to a
    /// millisecond late.
    pub timer_lag: Histogram,
}

impl Default for LoopStats {
    fn default() -> Self {
        LoopStats {
            receive_calls: Syscalls::default(),
            send_calls: Syscalls::default(),
            turns: Histogram::new(&TURNS),
            handlers: Histogram::new(&TURNS),
            timer_lag: Histogram::new(&TURNS),
        }
    }
}

impl LoopStats {
    /// Adds those of another loop.
    pub fn add(&mut self, other: &LoopStats) {
        self.receive_calls.add(&other.receive_calls);
        self.send_calls.add(&other.send_calls);
        self.turns.add(&other.turns);
        self.handlers.add(&other.handlers);
        self.timer_lag.add(&other.timer_lag);
    }
}

/// The durations of requests on a server, in nanoseconds: from the turn of the loop that received the head to the turn
/// that passed the last byte of the response to QUIC, or ended it. 0 for what takes one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDurations(pub Histogram);

impl Default for RequestDurations {
    fn default() -> Self {
        RequestDurations(Histogram::new(&REQUESTS))
    }
}

impl RequestDurations {
    /// Adds those of another server.
    pub fn add(&mut self, other: &RequestDurations) {
        self.0.add(&other.0);
    }
}
