//! What a run has counted, and how it is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// Latencies in logarithmic buckets, each less than 1.6 % wide.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// Values share their leading bit with 64 buckets.
    const BITS: u32 = 6;

    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; 64 << Self::BITS], count: 0 }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let shift = nanos.checked_ilog2().unwrap_or(0).saturating_sub(Self::BITS);
        // The leading bit adds one to the exponent by itself.
        self.buckets[((shift as usize) << Self::BITS) + (nanos >> shift) as usize] += 1;
        self.count += 1;
    }

    /// The latency in milliseconds that a share of `q` did not exceed.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let rank = (self.count as f64 * q).ceil() as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        let bucket = bucket.unwrap_or(0);
        let shift = (bucket >> Self::BITS).saturating_sub(1);
        ((bucket - (shift << Self::BITS)) << shift) as f64 / 1e6
    }
}

/// The counters of one run.
pub(crate) struct Tally {
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers on connections that resumed a TLS session.
    pub(crate) resumed: u64,
    /// Requests without a complete answer, and lost connections.
    pub(crate) errors: u64,
    /// The first error, in words.
    pub(crate) failure: Option<String>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) latency: Histogram,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            statuses: BTreeMap::new(),
            resumed: 0,
            errors: 0,
            failure: None,
            received: 0,
            sent: 0,
            latency: Histogram::new(),
        }
    }

    /// Counts `errors` at once, which may be none, and keeps the words of the first.
    pub(crate) fn fail(&mut self, errors: u64, what: impl FnOnce() -> String) {
        self.errors += errors;
        self.failure.get_or_insert_with(what);
    }

    /// Requests that were answered completely.
    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }
}

/// All a finished run has to say.
pub(crate) struct Report {
    pub(crate) mode: &'static str,
    pub(crate) url: String,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// The only TLS group offered, if only one was.
    pub(crate) group: Option<String>,
    pub(crate) tally: Tally,
    pub(crate) seconds: f64,
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: Option<f64>,
    pub(crate) packets_lost: usize,
    pub(crate) sha256: Option<String>,
}

impl Report {
    /// Why the run does not count, if it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        let others: Vec<_> = self.tally.statuses.iter().filter(|(s, _)| !(200..300).contains(*s)).collect();
        match &self.tally.failure {
            Some(first) => Some(format!("{} errors, the first: {first}", self.tally.errors)),
            None if !others.is_empty() => Some(format!("answers other than 2xx (status, count): {others:?}")),
            None => None,
        }
    }

    fn rate(&self) -> f64 {
        self.tally.answers() as f64 / self.seconds
    }

    fn megabytes(&self) -> f64 {
        (self.tally.received + self.tally.sent) as f64 / self.seconds / 1e6
    }

    /// One object for scripts.
    pub(crate) fn json(&self) -> Value {
        let latency = &self.tally.latency;
        json!({
            "mode": self.mode,
            "url": self.url,
            "connections": self.connections,
            "streams": self.streams,
            "group": self.group,
            "resumed": self.tally.resumed,
            "seconds": self.seconds,
            "requests": self.tally.answers(),
            "requests_per_second": self.rate(),
            "mb_per_second": self.megabytes(),
            "bytes_received": self.tally.received,
            "bytes_sent": self.tally.sent,
            "latency_ms": {
                "p50": latency.quantile(0.5),
                "p99": latency.quantile(0.99),
                "p99.9": latency.quantile(0.999),
            },
            "statuses": self.tally.statuses,
            "errors": self.tally.errors,
            "failure": self.failure(),
            "packets_lost": self.packets_lost,
            "client_cpu_seconds": self.client_cpu,
            "server_cpu_seconds": self.server_cpu,
            "sha256": self.sha256,
        })
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Tally { statuses, errors, received, sent, latency, .. } = &self.tally;
        let body = received + sent;
        let mut line = match self.mode {
            "get" => format!(
                "{:.0} req/s ({} in {:.2} s, {} connections x {} streams), latency p50 {:.2} p99 {:.2} p99.9 {:.2} ms",
                self.rate(),
                self.tally.answers(),
                self.seconds,
                self.connections,
                self.streams,
                latency.quantile(0.5),
                latency.quantile(0.99),
                latency.quantile(0.999),
            ),
            "handshakes" => format!(
                "{:.0} connections/s ({} in {:.2} s, {} resumed, {}), each p50 {:.2} p99 {:.2} ms",
                self.rate(),
                self.tally.answers(),
                self.seconds,
                self.tally.resumed,
                self.group.as_deref().unwrap_or_default(),
                latency.quantile(0.5),
                latency.quantile(0.99),
            ),
            "idle" => format!("{} idle connections for {:.1} s, handshakes included", self.connections, self.seconds),
            mode => format!("{mode} {:.0} MB/s ({body} bytes in {:.2} s)", self.megabytes(), self.seconds),
        };
        line += &format!(
            ", statuses {statuses:?}, errors {errors}, body bytes {body}, packets lost {}, CPU client {:.2} s",
            self.packets_lost, self.client_cpu,
        );
        if let Some(seconds) = self.server_cpu {
            line += &format!(" server {seconds:.2} s");
        }
        if let Some(digest) = &self.sha256 {
            line += &format!(", sha256 {digest}");
        }
        line
    }
}
