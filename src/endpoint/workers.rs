//! What the endpoints of one server's workers share, so that limits are those of the server.

#[cfg(feature = "qlog")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::prefix::Prefix;
#[cfg(feature = "qlog")]
use super::qlog_files::QlogFiles;
use super::rates::Rates;
use crate::config::{EndpointConfig, ServerConfig};
use crate::error::ConfigError;
use crate::transport::cid::Place;

/// The settings of a server's workers, and what they share.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    settings: EndpointConfig,
    count: u8,
    totals: Arc<Totals>,
}

/// Sums over all workers.
#[derive(Debug)]
struct Totals {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    rates: Option<Mutex<Rates>>,
    #[cfg(feature = "qlog")]
    qlogs: OnceLock<Arc<QlogFiles>>,
}

impl Workers {
    /// Settings for `count` workers.
    ///
    /// # Errors
    /// The first setting that is invalid or whose file cannot be used.
    pub(crate) fn new(config: ServerConfig, count: u8, now: Instant) -> Result<Self, ConfigError> {
        let settings = config.into_endpoint()?;
        let totals = Arc::new(Totals::new(&settings, now));
        Ok(Workers { settings, count, totals })
    }

    /// What the endpoint of a worker is made of.
    pub(super) fn get(&self, index: u8) -> (EndpointConfig, Worker) {
        let place = Place { index, count: self.count };
        let worker = Worker { place, totals: Arc::clone(&self.totals), connections: 0, handshakes: 0 };
        (self.settings.clone(), worker)
    }
}

impl Totals {
    fn new(settings: &EndpointConfig, now: Instant) -> Self {
        let rates = settings.max_request_rate.map(|rate| Mutex::new(Rates::new(rate, now)));
        Totals {
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            rates,
            #[cfg(feature = "qlog")]
            qlogs: OnceLock::new(),
        }
    }
}

/// An endpoint as one of the workers of a server.
#[derive(Debug)]
pub(super) struct Worker {
    place: Place,
    totals: Arc<Totals>,
    /// What the totals hold of this worker.
    connections: usize,
    handshakes: usize,
}

impl Worker {
    /// The only one.
    pub(super) fn single(settings: &EndpointConfig, now: Instant) -> Self {
        let totals = Arc::new(Totals::new(settings, now));
        Worker { place: Place::ONLY, totals, connections: 0, handshakes: 0 }
    }

    /// The qlog files that are kept.
    #[cfg(feature = "qlog")]
    pub(super) fn qlogs(&self) -> &OnceLock<Arc<QlogFiles>> {
        &self.totals.qlogs
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// This worker's part of a limit of the server.
    pub(super) fn part(&self, of_all: f64) -> f64 {
        of_all / f64::from(self.place.count)
    }

    /// Counts a request of `network`. False if there are too many in a second.
    pub(super) fn is_within_rate(&self, now: Instant, network: Prefix) -> bool {
        let rates = self.totals.rates.as_ref();
        rates.is_none_or(|rates| rates.lock().unwrap_or_else(PoisonError::into_inner).take(now, network))
    }

    /// The connections and the handshakes of all workers, of which this one has so many.
    pub(super) fn totals(&mut self, connections: usize, handshakes: usize) -> (usize, usize) {
        self.update(connections, handshakes);
        let load = |total: &AtomicUsize| total.load(Ordering::Relaxed);
        (load(&self.totals.connections), load(&self.totals.handshakes))
    }

    /// This worker has so many connections and handshakes.
    pub(super) fn update(&mut self, connections: usize, handshakes: usize) {
        let change = |total: &AtomicUsize, before: &mut usize, now: usize| {
            if now > *before {
                total.fetch_add(now - *before, Ordering::Relaxed);
            } else if now < *before {
                total.fetch_sub(*before - now, Ordering::Relaxed);
            }
            *before = now;
        };
        change(&self.totals.connections, &mut self.connections, connections);
        change(&self.totals.handshakes, &mut self.handshakes, handshakes);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.update(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Certificate;
    use crate::net;

    fn workers(count: u8) -> Vec<Worker> {
        // Nobody reads the files.
        let mut config = ServerConfig::new(vec![Certificate::from_files("cert.pem", "key.pem")]);
        config.max_request_rate = NonZeroU32::new(10);
        let workers = Workers::new(config, count, net::now()).expect("valid settings");
        (0..count).map(|index| workers.get(index).1).collect()
    }

    #[test]
    fn totals_are_those_of_all_workers_that_are_left() {
        let mut all = workers(3);
        assert_eq!(all[0].totals(2, 1), (2, 1));
        assert_eq!(all[1].totals(5, 0), (7, 1));
        assert_eq!(all[2].totals(0, 4), (7, 5));
        all[1].update(1, 1);
        assert_eq!(all[0].totals(2, 0), (3, 5));
        all.remove(2);
        assert_eq!(all[0].totals(2, 0), (3, 1), "one has ended");
        assert_eq!(all[0].part(600.0), 200.0);
    }

    #[test]
    fn a_rate_is_that_of_the_server() {
        let all = workers(2);
        let (now, network) = (net::now(), Prefix::of(([192, 0, 2, 1], 1).into()));
        let taken = (0..30).filter(|n| all[n % 2].is_within_rate(now, network)).count();
        assert_eq!(taken, 10);
    }
}
