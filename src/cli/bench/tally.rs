//! The counters of a run, and its report.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// The longest latency recorded, in nanoseconds; longer ones are clamped.
const MAX_NANOS: u64 = 3_600_000_000_000;
/// Significant digits of the latencies.
const DIGITS: u8 = 3;

/// CPU time of this process so far.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub(super) struct Tally {
    pub(super) latency: Histogram<u64>,
    /// Responses by status; echoed datagrams and streams of sessions count as 0.
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// The first error in words.
    pub(super) first: Option<String>,
    pub(super) started: u64,
    pub(super) done: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) reconnects: u64,
}

impl Tally {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Tally {
            latency: Histogram::new_with_max(MAX_NANOS, DIGITS)?,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            first: None,
            started: 0,
            done: 0,
            bytes_in: 0,
            bytes_out: 0,
            reconnects: 0,
        })
    }

    pub(super) fn answer(&mut self, status: u16, latency: Duration) {
        self.done += 1;
        *self.statuses.entry(status).or_default() += 1;
        self.record(latency);
    }

    /// Adds a latency, or the time until a request was given up.
    pub(super) fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn error(&mut self, kind: &'static str, what: impl FnOnce() -> String) {
        self.done += 1;
        *self.errors.entry(kind).or_default() += 1;
        self.first.get_or_insert_with(what);
    }

    pub(super) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A finished run.
pub(super) struct Report<'a> {
    pub(super) url: &'a str,
    pub(super) mode: &'static str,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) rate: Option<f64>,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) cpu: Duration,
    pub(super) tally: &'a Tally,
}

fn ms(nanos: u64) -> f64 {
    // To the microsecond.
    (nanos as f64 / 1e3).round() / 1e3
}

impl Report<'_> {
    fn seconds(&self) -> f64 {
        (self.ended - self.began).as_secs_f64().max(1e-9)
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds()
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.answers().max(1) as f64
    }

    /// Why the run is invalid, if it is.
    pub(super) fn failure(&self) -> Option<String> {
        let others: Vec<String> = self.tally.statuses.keys().filter(|s| !is_fine(**s)).map(u16::to_string).collect();
        match &self.tally.first {
            Some(first) => Some(format!("{} errors, the first: {first}", self.tally.errors())),
            None if !others.is_empty() => Some(format!("answers other than 2xx: status {}", others.join(", "))),
            None if self.tally.answers() == 0 => Some("nothing was answered".to_owned()),
            None => None,
        }
    }

    pub(super) fn json(&self) -> Value {
        let tally = self.tally;
        let at = |q| ms(tally.latency.value_at_quantile(q));
        let statuses: BTreeMap<String, u64> =
            tally.statuses.iter().filter(|(s, _)| **s > 0).map(|(s, n)| (s.to_string(), *n)).collect();
        json!({
            "url": self.url,
            "mode": self.mode,
            "connections": self.connections,
            "streams": self.streams,
            "rate": self.rate,
            "seconds": self.seconds(),
            "started": tally.started,
            "requests": tally.answers(),
            "requests_per_second": self.per_second(tally.answers()),
            "bytes_in": tally.bytes_in,
            "bytes_out": tally.bytes_out,
            "mb_in_per_second": self.per_second(tally.bytes_in) / 1e6,
            "mb_out_per_second": self.per_second(tally.bytes_out) / 1e6,
            "latency_ms": {
                "min": ms(tally.latency.min()), "mean": ms(tally.latency.mean() as u64), "p50": at(0.5), "p90": at(0.9),
                "p99": at(0.99), "p99.9": at(0.999), "max": ms(tally.latency.max()),
            },
            "statuses": statuses,
            "errors": tally.errors,
            "reconnects": tally.reconnects,
            "client_cpu_seconds": self.cpu.as_secs_f64(),
            "client_cpu_us_per_request": self.cpu_micros(),
        })
    }

    pub(super) fn text(&self) -> String {
        let (tally, at) = (self.tally, |q| ms(self.tally.latency.value_at_quantile(q)));
        let mut out = String::new();
        let what = match self.mode {
            "wt datagram" => "datagrams",
            "wt stream" => "streams",
            _ => "requests",
        };
        let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        let statuses = tally.statuses.iter().filter(|(s, _)| **s > 0).map(|(s, n)| format!("{n} with {s}")).collect();
        let errors = tally.errors.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let (connections, streams) = (self.connections, self.streams);
        let _ = writeln!(
            out,
            "{what:<10} {} in {:.3} s over {connections} connections, up to {streams} at a time on each{}\n\
             rate       {:.1} per second, {:.2} MB/s in, {:.2} MB/s out\n\
             latency    p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
            tally.answers(),
            self.seconds(),
            self.rate.map(|rate| format!(", {rate} per second scheduled")).unwrap_or_default(),
            self.per_second(tally.answers()),
            self.per_second(tally.bytes_in) / 1e6,
            self.per_second(tally.bytes_out) / 1e6,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            ms(tally.latency.max()),
        );
        if self.mode == "http" {
            let _ = writeln!(out, "answers    {}", list(statuses));
        }
        let _ = writeln!(out, "errors     {}", list(errors));
        if tally.reconnects > 0 {
            let _ = writeln!(out, "reconnects {}", tally.reconnects);
        }
        let share = 100.0 * self.cpu.as_secs_f64() / self.seconds();
        let _ = writeln!(out, "client CPU {share:.0} % of a core, {:.1} us for each answer", self.cpu_micros());
        out
    }
}

/// A status that is 2xx, or 0 for sessions.
fn is_fine(status: u16) -> bool {
    status == 0 || (200..300).contains(&status)
}
