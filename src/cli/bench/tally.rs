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
        self.record(latency, 1);
    }

    /// Adds latencies, or the times until requests were given up.
    pub(super) fn record(&mut self, latency: Duration, count: u64) {
        self.latency.saturating_record_n(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX), count);
    }

    pub(super) fn error(&mut self, kind: &'static str, count: u64, what: impl FnOnce() -> String) {
        self.done += count;
        *self.errors.entry(kind).or_default() += count;
        self.first.get_or_insert_with(what);
    }

    /// Adds what another worker counted.
    pub(super) fn add(&mut self, other: &Tally) {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.first = self.first.take().or_else(|| other.first.clone());
        self.started += other.started;
        self.done += other.done;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.reconnects += other.reconnects;
    }

    /// How many latencies there are up to each bound, in nanoseconds: 1, 2 and 5 times a power of ten. The first and the
    /// last one are not 0.
    pub(super) fn histogram(&self) -> Vec<(u64, u64)> {
        let bounds = (3..13).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power)));
        let mut buckets: Vec<(u64, u64)> = bounds.map(|bound| (bound, 0)).collect();
        for value in self.latency.iter_recorded() {
            let at = self.latency.lowest_equivalent(value.value_iterated_to());
            if let Some((_, count)) = buckets.iter_mut().find(|(bound, _)| at <= *bound) {
                *count += value.count_since_last_iteration();
            }
        }
        let used = |(_, count): &(u64, u64)| *count > 0;
        let first = buckets.iter().position(used).unwrap_or(buckets.len());
        let end = buckets.iter().rposition(used).map_or(first, |last| last + 1);
        buckets[first..end].to_vec()
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
    pub(super) workers: usize,
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
            "histogram": tally.histogram().iter().map(|(bound, count)| json!([ms(*bound), count])).collect::<Vec<_>>(),
            "workers": self.workers,
            "statuses": statuses,
            "errors": tally.errors,
            "reconnects": tally.reconnects,
            "client_cpu_seconds": self.cpu.as_secs_f64(),
            "client_cpu_us_per_request": self.cpu_micros(),
        })
    }

    /// Two lines: the names of the columns, and their values.
    pub(super) fn csv(&self) -> String {
        let (tally, at) = (self.tally, |q| ms(self.tally.latency.value_at_quantile(q)));
        // RFC 4180: a quote in a quoted value is doubled.
        let url = format!("\"{}\"", self.url.replace('"', "\"\""));
        let not_2xx: u64 = tally.statuses.iter().filter(|(status, _)| !is_fine(**status)).map(|(_, n)| n).sum();
        let columns = [
            ("url", url),
            ("mode", self.mode.to_owned()),
            ("workers", self.workers.to_string()),
            ("connections", self.connections.to_string()),
            ("streams", self.streams.to_string()),
            ("rate", self.rate.map(|rate| rate.to_string()).unwrap_or_default()),
            ("seconds", format!("{:.6}", self.seconds())),
            ("requests", tally.answers().to_string()),
            ("errors", tally.errors().to_string()),
            ("not_2xx", not_2xx.to_string()),
            ("requests_per_second", format!("{:.3}", self.per_second(tally.answers()))),
            ("bytes_in", tally.bytes_in.to_string()),
            ("bytes_out", tally.bytes_out.to_string()),
            ("min_ms", ms(tally.latency.min()).to_string()),
            ("mean_ms", ms(tally.latency.mean() as u64).to_string()),
            ("p50_ms", at(0.5).to_string()),
            ("p90_ms", at(0.9).to_string()),
            ("p99_ms", at(0.99).to_string()),
            ("p99.9_ms", at(0.999).to_string()),
            ("max_ms", ms(tally.latency.max()).to_string()),
            ("reconnects", tally.reconnects.to_string()),
            ("client_cpu_seconds", format!("{:.6}", self.cpu.as_secs_f64())),
        ];
        let (names, values): (Vec<&str>, Vec<String>) = columns.into_iter().unzip();
        format!("{}\n{}\n", names.join(","), values.join(","))
    }

    /// A bar for each bucket of latencies.
    fn bars(&self) -> String {
        const WIDTH: u64 = 50;
        let buckets = self.tally.histogram();
        let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        let bar = |count: u64| "#".repeat((count * WIDTH).div_ceil(most) as usize);
        let line = |(bound, count): &(u64, u64)| format!("  <= {:>9} ms {count:>9} {}\n", ms(*bound), bar(*count));
        buckets.iter().map(line).collect()
    }

    pub(super) fn text(&self, histogram: bool) -> String {
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
        if histogram {
            out.push_str(&self.bars());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_one_bucket() {
        let mut tally = Tally::new().unwrap();
        for micros in [700, 1000, 1001, 2000, 4999, 5000, 70_000] {
            tally.record(Duration::from_micros(micros), 1);
        }
        tally.record(Duration::from_secs(7200), 3);
        let counts = |tally: &Tally| tally.histogram().iter().map(|(_, count)| *count).collect::<Vec<_>>();
        let found = counts(&tally);
        assert_eq!(found.iter().sum::<u64>(), 10);
        assert_eq!((tally.histogram()[0], found.last()), ((1_000_000, 2), Some(&3)));
        assert!(counts(&Tally::new().unwrap()).is_empty());
        let mut sum = Tally::new().unwrap();
        sum.add(&tally);
        sum.add(&tally);
        assert_eq!(counts(&sum), found.iter().map(|count| 2 * count).collect::<Vec<_>>());
    }
}
