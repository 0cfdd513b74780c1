//! The counters in Prometheus' text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::stats::{
    Distributions, Histogram, LoopStats, PanicCounts, RequestDurations, ResponseCounts, Stats, Syscalls,
};

/// The media type of [`encode`]'s output.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// A snapshot of a server's state.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The counters.
    pub stats: Stats,
    /// The distributions of the endpoint.
    pub distributions: Distributions,
    /// What the event loop has done.
    pub event_loop: LoopStats,
    /// Responses by route and status.
    pub responses: ResponseCounts,
    /// Durations of requests.
    pub durations: RequestDurations,
    /// Panics of handlers by route.
    pub panics: PanicCounts,
    /// Connections in the table.
    pub connections: usize,
    /// Handshakes in progress.
    pub handshakes: usize,
    /// WebTransport sessions that are open.
    pub sessions: usize,
    /// A shutdown has begun.
    pub shutting_down: bool,
}

impl Snapshot {
    /// The state of a server with several workers.
    pub fn sum(workers: impl IntoIterator<Item = Snapshot>) -> Self {
        workers.into_iter().fold(Snapshot::default(), |mut sum, worker| {
            sum.stats += worker.stats;
            sum.distributions.add(&worker.distributions);
            sum.event_loop.add(&worker.event_loop);
            sum.durations.add(&worker.durations);
            sum.responses.add(&worker.responses);
            sum.panics = sum.panics.sum(Some(&worker.panics));
            sum.connections += worker.connections;
            sum.handshakes += worker.handshakes;
            sum.sessions += worker.sessions;
            sum.shutting_down |= worker.shutting_down;
            sum
        })
    }
}

/// The metrics of each worker of a server, with its number in the label `worker`, as `GET /metrics/workers` returns them.
pub fn encode_workers(workers: impl IntoIterator<Item = Snapshot>) -> String {
    let mut families: Vec<Family> = Vec::new();
    for (number, worker) in workers.into_iter().enumerate() {
        let text = encode(worker);
        let mut current = None;
        for line in text.lines() {
            let (kind, name) = match line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) {
                Some((kind, rest)) => (Some(kind), rest.split(' ').next().unwrap_or_default()),
                None => (None, ""),
            };
            if kind == Some("HELP") {
                let known = families.iter().position(|family| family.name == name);
                current = Some(known.unwrap_or_else(|| {
                    families.push(Family { name: name.to_owned(), ..Family::default() });
                    families.len() - 1
                }));
            }
            let Some(family) = current.and_then(|at| families.get_mut(at)) else { continue };
            match kind {
                Some(_) if number == 0 => family.lines.push(line.to_owned()),
                Some(_) => {}
                None => family.lines.push(with_worker(line, number)),
            }
        }
    }
    let lines = families.iter().flat_map(|family| &family.lines).map(|line| format!("{line}\n"));
    lines.chain(["# EOF\n".to_owned()]).collect()
}

#[derive(Default)]
struct Family {
    name: String,
    lines: Vec<String>,
}

/// A sample with one more label.
fn with_worker(sample: &str, number: usize) -> String {
    match sample.split_once('{') {
        Some((name, rest)) => format!("{name}{{worker=\"{number}\",{rest}"),
        None => match sample.split_once(' ') {
            Some((name, value)) => format!("{name}{{worker=\"{number}\"}} {value}"),
            None => sample.to_owned(),
        },
    }
}

/// The metrics of a server, as `GET /metrics` returns them.
pub fn encode(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("mio_quiche");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

impl Collector for Snapshot {
    /// One line per metric: name (a counter's gets `_total`), help, value. A test counts them against [`Stats`].
    #[rustfmt::skip]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (e, s) = (&mut encoder, &self.stats);
        family(e, "build_info", "Versions of this program", MetricType::Gauge, &["version", "quiche"],
            [([env!("CARGO_PKG_VERSION"), env!("MIO_QUICHE_QUICHE_VERSION")], 1)])?;
        gauge(e, "connections_open", "QUIC connections in the table", self.connections)?;
        gauge(e, "handshakes_open", "Handshakes in progress", self.handshakes)?;
        gauge(e, "webtransport_sessions_open", "WebTransport sessions that are open", self.sessions)?;
        gauge(e, "shutting_down", "1 after a shutdown has begun", usize::from(self.shutting_down))?;

        counter(e, "udp_received_datagrams", "UDP datagrams received", s.datagrams_in)?;
        counter(e, "udp_received_bytes", "Bytes in the UDP datagrams received", s.bytes_in)?;
        counter(e, "udp_sent_datagrams", "UDP datagrams sent", s.datagrams_out)?;
        counter(e, "udp_sent_bytes", "Bytes in the UDP datagrams sent", s.bytes_out)?;
        counter(e, "ignored_garbage", "Datagrams ignored because they are not QUIC packets", s.ignored_garbage)?;
        counter(e, "ignored_unknown_cid", "Datagrams that no connection has the id of", s.ignored_unknown_cid)?;
        counter(e, "ignored_small_initial", "Initial packets ignored as too small", s.ignored_small_initial)?;
        counter(e, "ignored_over_limit", "Initial packets ignored over a limit", s.ignored_over_limit)?;
        counter(e, "ignored_short_cid", "Initial packets ignored as their id is too short", s.ignored_short_cid)?;
        counter(e, "invalid_tokens", "Initial packets answered with INVALID_TOKEN", s.invalid_tokens)?;
        counter(e, "refused_connections", "Initial packets answered with CONNECTION_REFUSED", s.refused_connections)?;
        counter(e, "resets_sent", "Stateless resets sent", s.resets_sent)?;
        counter(e, "resets_received", "Connections that a stateless reset ended", s.resets_received)?;
        counter(e, "version_negotiations", "Version Negotiation packets sent", s.version_negotiations)?;
        counter(e, "retries", "Retry packets sent", s.retries)?;
        counter(e, "refused_packets", "Packets that a connection refused", s.refused_packets)?;
        counter(e, "connections", "Connections accepted", s.connections)?;
        counter(e, "handshakes", "Handshakes completed", s.handshakes)?;
        counter(e, "failed_first_flights", "First flights of clients that could not be taken", s.failed_first_flights)?;
        counter(e, "repeated_first_flights", "Copies of first flights that had failed", s.repeated_first_flights)?;
        counter(e, "displaced_handshakes", "Handshakes that gave way to another client's", s.displaced_handshakes)?;
        counter(e, "handshake_timeouts", "Handshakes that did not complete in time", s.handshake_timeouts)?;
        counter(e, "log_failures", "qlog files and lines of the key log that were not written", s.log_failures)?;
        counter(e, "requests", "Requests whose head was valid", s.requests)?;
        counter(e, "resumed_handshakes", "Handshakes that resumed a session", s.resumed_handshakes)?;
        counter(e, "early_handshakes", "Handshakes whose early data (0-RTT) was accepted", s.early_handshakes)?;
        counter(e, "rejected_early_handshakes", "Handshakes whose early data was rejected", s.rejected_early_handshakes)?;
        counter(e, "early_requests", "Requests in the first flight of a connection (0-RTT)", s.early_requests)?;
        counter(e, "migrations", "Moves of clients to another address", s.migrations)?;
        counter(e, "dropped_over_share", "Datagrams dropped over their connection's share", s.dropped_over_share)?;
        counter(e, "excessive_peers", "Connections closed as the peer caused too much load", s.excessive_peers)?;
        counter(e, "rate_limited_requests", "Requests over their network's rate", s.rate_limited_requests)?;
        counter(e, "timed_out_requests", "Requests whose client made no progress in time", s.timed_out_requests)?;
        counter(e, "malformed_requests", "Requests that were malformed or over a limit", s.malformed_requests)?;
        counter(e, "rejected_requests", "Requests rejected in a shutdown or as too many", s.rejected_requests)?;
        counter(e, "cancelled_streams", "Streams that the peer reset or stopped", s.cancelled_streams)?;

        counter(e, "datagrams_received", "QUIC DATAGRAM frames received", s.datagram_frames_in)?;
        counter(e, "datagrams_sent", "QUIC DATAGRAM frames sent", s.datagram_frames_out)?;
        counter(e, "datagrams_dropped", "Datagrams dropped: no receiver, or over a limit", s.datagram_frames_dropped)?;
        counter(e, "datagrams_lost", "QUIC DATAGRAM frames sent in packets that were lost", s.datagram_frames_lost)?;
        counter(e, "packets_lost", "QUIC packets that were lost", s.packets_lost)?;
        counter(e, "webtransport_sessions_opened", "Sessions accepted", s.sessions_opened)?;
        counter(e, "webtransport_sessions_closed", "Sessions that ended, in whatever way", s.sessions_closed)?;
        counter(e, "webtransport_sessions_rejected", "Sessions refused", s.sessions_rejected)?;
        counter(e, "webtransport_sessions_failed", "Sessions ended because the peer broke a rule", s.sessions_failed)?;
        counter(e, "webtransport_streams_received", "Streams that peers opened", s.session_streams_in)?;
        counter(e, "webtransport_streams_opened", "Streams opened for peers", s.session_streams_out)?;
        counter(e, "webtransport_streams_rejected", "Streams refused", s.session_streams_rejected)?;
        family(e, "webtransport_capsules", "Capsules received, by type", MetricType::Counter, &["type"], [
            (["close"], s.capsules_close), (["drain"], s.capsules_drain), (["datagram"], s.capsules_datagram),
            (["flow_control"], s.capsules_flow_control), (["unknown"], s.capsules_unknown),
        ])?;

        let (d, l) = (&self.distributions, &self.event_loop);
        syscalls(e, "udp_receive_syscalls", "System calls that receive UDP datagrams, by result", &l.receive_calls)?;
        syscalls(e, "udp_send_syscalls", "System calls that send UDP datagrams, by result", &l.send_calls)?;
        seconds(e, "loop_turn_seconds", "Lengths of the event loop's turns", &l.turns)?;
        seconds(e, "loop_handler_seconds", "Time in the application in each turn of the event loop", &l.handlers)?;
        seconds(e, "loop_lag_seconds", "How late the earliest timer was in turns that ran any", &l.timer_lag)?;
        seconds(e, "rtt_seconds", "Smoothed round-trip times, sampled", &d.round_trips)?;
        histogram(e, "congestion_window_bytes", "Congestion windows, sampled", &d.congestion_windows, 1.0)?;
        histogram(e, "webtransport_session_streams", "Streams of sessions that ended", &d.session_streams, 1.0)?;
        seconds(e, "request_duration_seconds", "Durations of requests, in whole turns", &self.durations.0)?;

        family(e, "responses", "Responses by route and status class", MetricType::Counter, &["route", "status"],
            self.responses.iter().map(|(route, class, count)| ([route, class], count)))?;
        family(e, "handler_panics", "Panics of handlers, by route", MetricType::Counter, &["route"],
            self.panics.iter().map(|(route, count)| ([route], count)))
    }
}

fn counter(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(e.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    ConstGauge::new(value as u64).encode(e.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn syscalls(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, calls: &Syscalls) -> fmt::Result {
    let rows = [(["ok"], calls.ok), (["would_block"], calls.would_block), (["error"], calls.failed)];
    family(e, name, help, MetricType::Counter, &["result"], rows)
}

/// A histogram of nanoseconds, in seconds.
fn seconds(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, values: &Histogram) -> fmt::Result {
    histogram(e, name, help, values, 1e9)
}

/// A histogram in units of so many of its values.
fn histogram(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, values: &Histogram, unit: f64) -> fmt::Result {
    // The encoder adds the bucket without a bound, which is all of them.
    let buckets: Vec<_> = values.buckets().filter_map(|(bound, count)| Some((bound? as f64 / unit, count))).collect();
    let mut encoder = e.encode_descriptor(name, help, None, MetricType::Histogram)?;
    encoder.encode_histogram::<NoLabelSet>(values.sum() as f64 / unit, values.count(), &buckets, None)
}

/// A metric with labels: the values of each, in the order of `labels`, and its count.
fn family<'a, const N: usize>(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    labels: &[&'static str; N],
    values: impl IntoIterator<Item = ([&'a str; N], u64)>,
) -> fmt::Result {
    let mut encoder = e.encode_descriptor(name, help, None, kind)?;
    for (texts, count) in values {
        let set: Vec<(&str, &str)> = labels.iter().copied().zip(texts).collect();
        let mut one = encoder.encode_family(&set)?;
        match kind {
            MetricType::Counter => ConstCounter::new(count).encode(one)?,
            _ => one.encode_gauge(&count)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of the metric's line.
    fn value(text: &str, metric: &str) -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn values_come_out() {
        let mut snapshot =
            Snapshot { connections: 3, handshakes: 2, sessions: 4, shutting_down: true, ..Default::default() };
        snapshot.stats.requests = u64::MAX;
        snapshot.stats.bytes_in = 7;
        snapshot.stats.capsules_drain = 5;
        snapshot.responses.count(Some("/a/:id"), Some(http::StatusCode::OK));
        snapshot.panics.count(Some("/a/:id"));
        snapshot.responses.count(Some("/a/:id"), Some(http::StatusCode::NO_CONTENT));
        snapshot.responses.count(None, Some(http::StatusCode::NOT_FOUND));
        snapshot.responses.count(Some("/say/\"\\"), None);
        let text = encode(snapshot);
        for (metric, expected) in [
            ("mio_quiche_requests_total", u64::MAX),
            ("mio_quiche_udp_received_bytes_total", 7),
            ("mio_quiche_connections_open", 3),
            ("mio_quiche_handshakes_open", 2),
            ("mio_quiche_webtransport_sessions_open", 4),
            ("mio_quiche_webtransport_capsules_total{type=\"drain\"}", 5),
            ("mio_quiche_shutting_down", 1),
            ("mio_quiche_responses_total{route=\"/a/:id\",status=\"2xx\"}", 2),
            ("mio_quiche_responses_total{route=\"-\",status=\"4xx\"}", 1),
            ("mio_quiche_handler_panics_total{route=\"/a/:id\"}", 1),
            (r#"mio_quiche_responses_total{route="/say/\"\\",status="none"}"#, 1),
        ] {
            assert_eq!(value(&text, metric), Some(expected), "{metric} in\n{text}");
        }
        let info = format!("build_info{{version=\"{}\",quiche=\"{}\"}}", crate::VERSION, crate::QUICHE_VERSION);
        assert_eq!(value(&text, &format!("mio_quiche_{info}")), Some(1), "{text}");
    }

    #[test]
    fn histograms_are_cumulative_and_in_base_units() {
        let mut snapshot = Snapshot::default();
        let ms = std::time::Duration::from_millis;
        for duration in [ms(1), ms(50), ms(50), ms(60), ms(9_000)] {
            snapshot.event_loop.handlers.observe_duration(duration);
        }
        for window in [13_500, 16_384, 16_385] {
            snapshot.distributions.congestion_windows.observe(window);
        }
        snapshot.event_loop.send_calls.would_block = 3;
        let text = encode(snapshot);
        for line in [
            "# TYPE mio_quiche_loop_handler_seconds histogram",
            "mio_quiche_loop_handler_seconds_bucket{le=\"1e-05\"} 0",
            "mio_quiche_loop_handler_seconds_bucket{le=\"0.001\"} 1",
            "mio_quiche_loop_handler_seconds_bucket{le=\"0.025\"} 1",
            "mio_quiche_loop_handler_seconds_bucket{le=\"0.05\"} 3",
            "mio_quiche_loop_handler_seconds_bucket{le=\"0.1\"} 4",
            "mio_quiche_loop_handler_seconds_bucket{le=\"1\"} 4",
            "mio_quiche_loop_handler_seconds_bucket{le=\"+Inf\"} 5",
            "mio_quiche_loop_handler_seconds_sum 9.161",
            "mio_quiche_loop_handler_seconds_count 5",
            "mio_quiche_congestion_window_bytes_bucket{le=\"8192\"} 0",
            "mio_quiche_congestion_window_bytes_bucket{le=\"16384\"} 2",
            "mio_quiche_congestion_window_bytes_bucket{le=\"6.7108864e+07\"} 3",
            "mio_quiche_congestion_window_bytes_sum 46269.0",
            "mio_quiche_udp_send_syscalls_total{result=\"would_block\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_metrics_of_each_worker_stand_together() {
        let mut workers = [Snapshot { connections: 3, ..Default::default() }, Snapshot::default()];
        workers[1].responses.count(Some("/a"), Some(http::StatusCode::OK));
        let text = encode_workers(workers);
        let gauge = "\n# TYPE mio_quiche_connections_open gauge\n\
                     mio_quiche_connections_open{worker=\"0\"} 3\nmio_quiche_connections_open{worker=\"1\"} 0\n#";
        assert!(text.contains(gauge), "{text}");
        let labels = "mio_quiche_responses_total{worker=\"1\",route=\"/a\",status=\"2xx\"} 1\n";
        assert!(text.contains(labels), "{text}");
        assert_eq!(text.matches("# TYPE mio_quiche_connections_open ").count(), 1);
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn every_counter_is_in_it() {
        let text = encode(Snapshot::default());
        let is_counter = |line: &&str| !line.starts_with('#') && line.contains("_total") && !line.contains("syscalls");
        let counters = text.lines().filter(is_counter).count();
        let fields = format!("{:?}", Stats::default()).matches(": ").count();
        assert_eq!(counters, fields, "a field of Stats lacks its line in prometheus.rs:\n{text}");
    }
}
