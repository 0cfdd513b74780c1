//! A network in memory: each host is on a link of its own, which delays, limits, loses, doubles, reorders and corrupts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::app::sim_tests::Rng;

/// The properties of a link, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    /// Maximum additional delay, without reordering.
    pub(crate) jitter: Duration,
    /// Bytes per second.
    pub(crate) rate: Option<u64>,
    /// Bytes queued for a link with a rate; further datagrams are dropped.
    pub(crate) queue: u64,
    /// Percent of datagrams.
    pub(crate) loss: u64,
    /// Percent of datagrams.
    pub(crate) duplicate: u64,
    /// Percent of datagrams, which arrive some milliseconds late.
    pub(crate) reorder: u64,
    /// Percent of datagrams, which arrive with one to three bits changed.
    pub(crate) corrupt: u64,
    /// The largest UDP payload; larger ones are dropped.
    pub(crate) mtu: usize,
    /// A NAT on the link changes the port of its host after this many of its datagrams.
    pub(crate) rebind_every: Option<u32>,
    /// What is sent to a port before still arrives.
    pub(crate) keeps_ports: bool,
}

impl Link {
    /// A perfect link without delay.
    pub(crate) const PERFECT: Link = Link {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        rate: None,
        queue: 128 * 1024,
        loss: 0,
        duplicate: 0,
        reorder: 0,
        corrupt: 0,
        mtu: usize::MAX,
        rebind_every: None,
        keeps_ports: false,
    };
    /// A delay of one millisecond.
    pub(crate) const LAN: Link = Link { delay: Duration::from_millis(1), ..Link::PERFECT };
}

/// Counters of datagrams.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) overflowed: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    pub(crate) too_large: u64,
    pub(crate) rebound: u64,
    /// Sent to an address without a host.
    pub(crate) nowhere: u64,
}

/// One direction of a link.
#[derive(Default)]
struct Pipe {
    /// When the last datagram leaves the queue.
    free_at: Option<Instant>,
    last_arrival: Option<Instant>,
}

struct Port {
    link: Link,
    up: Pipe,
    down: Pipe,
    /// The address that others see.
    outer: SocketAddr,
    /// Others that it had before.
    former: Vec<SocketAddr>,
    sent: u32,
}

/// A datagram under way.
pub(crate) struct Flight {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) data: Vec<u8>,
    /// It has passed its sender's link, and the receiver's comes next.
    halfway: bool,
}

pub(crate) struct Network {
    rng: Rng,
    /// The hosts, by the addresses that they know of themselves.
    ports: BTreeMap<SocketAddr, Port>,
    flights: BTreeMap<(Instant, u64), Flight>,
    next: u64,
    pub(crate) counts: Counts,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let (ports, flights) = (BTreeMap::new(), BTreeMap::new());
        Network { rng: Rng::new(seed), ports, flights, next: 0, counts: Counts::default() }
    }

    /// Connects a host by a link, or replaces its link.
    pub(crate) fn attach(&mut self, host: SocketAddr, link: Link) {
        let new = Port { link, up: Pipe::default(), down: Pipe::default(), outer: host, former: Vec::new(), sent: 0 };
        self.ports.entry(host).or_insert(new).link = link;
    }

    /// Removes a host from the network.
    pub(crate) fn detach(&mut self, host: SocketAddr) {
        self.ports.remove(&host);
    }

    /// The NAT of a host changes its port, and the first time also its address.
    pub(crate) fn rebind(&mut self, host: SocketAddr) {
        let port = self.ports.get_mut(&host).expect("a host");
        let IpAddr::V4(ip) = host.ip() else { panic!("hosts have IPv4 addresses") };
        port.former.push(port.outer);
        port.outer = SocketAddr::from(([198, 51, 100, ip.octets()[3]], port.outer.port() + 1));
        self.counts.rebound += 1;
    }

    /// Some part of a time.
    pub(crate) fn part(&mut self, of: Duration) -> Duration {
        part(of, &mut self.rng)
    }

    /// A host sends.
    pub(crate) fn send(&mut self, now: Instant, host: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let Some(port) = self.ports.get_mut(&host) else { return };
        port.sent += 1;
        if port.link.rebind_every.is_some_and(|every| port.sent.is_multiple_of(every)) {
            self.rebind(host);
        }
        let from = self.ports[&host].outer;
        self.pass(now, host, Flight { from, to, data, halfway: false });
    }

    /// The next datagram that arrives by `now`, and at which host.
    pub(crate) fn deliver(&mut self, now: Instant) -> Option<(SocketAddr, Flight)> {
        while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), mut flight) = entry.remove_entry();
            let is_at =
                |port: &Port| port.outer == flight.to || port.link.keeps_ports && port.former.contains(&flight.to);
            let receiver = self.ports.iter().find(|(_, port)| is_at(port)).map(|(host, _)| *host);
            let Some(host) = receiver else {
                self.counts.nowhere += 1;
                continue;
            };
            if flight.halfway {
                self.counts.delivered += 1;
                return Some((host, flight));
            }
            flight.halfway = true;
            self.pass(at, host, flight);
        }
        None
    }

    /// When the next datagram arrives somewhere.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    /// Sends a datagram through the link of one host.
    fn pass(&mut self, now: Instant, host: SocketAddr, mut flight: Flight) {
        let (rng, counts) = (&mut self.rng, &mut self.counts);
        let Some(Port { link, up, down, .. }) = self.ports.get_mut(&host) else { return };
        let pipe = if flight.halfway { down } else { up };
        if flight.data.len() > link.mtu {
            counts.too_large += 1;
            return;
        }
        if rng.percent(link.loss) {
            counts.lost += 1;
            return;
        }
        if rng.percent(link.corrupt) {
            counts.corrupted += 1;
            for _ in 0..1 + rng.next() % 3 {
                let at = rng.next() as usize % flight.data.len();
                flight.data[at] ^= 1 << (rng.next() % 8);
            }
        }
        let twice = rng.percent(link.duplicate);
        counts.duplicated += u64::from(twice);
        for _ in 0..1 + u64::from(twice) {
            let mut at = now;
            if let Some(rate) = link.rate {
                let free_at = pipe.free_at.unwrap_or(now).max(now);
                let waiting = (free_at - now).as_secs_f64() * rate as f64;
                if waiting as u64 + flight.data.len() as u64 > link.queue {
                    counts.overflowed += 1;
                    continue;
                }
                at = free_at + Duration::from_secs_f64(flight.data.len() as f64 / rate as f64);
                pipe.free_at = Some(at);
            }
            at += link.delay + part(link.jitter, rng);
            if rng.percent(link.reorder) {
                counts.reordered += 1;
                at += Duration::from_millis(1) + part(Duration::from_millis(4), rng);
            } else {
                at = pipe.last_arrival.map_or(at, |last| last.max(at));
                pipe.last_arrival = Some(at);
            }
            let Flight { from, to, ref data, halfway } = flight;
            self.flights.insert((at, self.next), Flight { from, to, data: data.clone(), halfway });
            self.next += 1;
        }
    }
}

/// Some part of a time.
fn part(of: Duration, rng: &mut Rng) -> Duration {
    of.mul_f64((rng.next() % 1000) as f64 / 1000.0)
}
