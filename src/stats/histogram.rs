//! Distributions of values.

use std::time::Duration;

const BOUNDS: usize = 15;

/// Values counted in fixed ranges, and their sum. Durations are in nanoseconds.
///
/// Histograms of the same quantity can be [added](Histogram::add), such as those of several event loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64; BOUNDS],
    counts: [u64; BOUNDS + 1],
    /// Wide enough for the nanoseconds of any number of long requests.
    sum: u128,
}

impl Histogram {
    /// An empty one. The bounds ascend; each belongs to the range below it.
    pub(super) const fn new(bounds: &'static [u64; BOUNDS]) -> Self {
        Histogram { bounds, counts: [0; BOUNDS + 1], sum: 0 }
    }

    /// Counts a value.
    pub(crate) fn observe(&mut self, value: u64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += u128::from(value);
    }

    /// Counts a duration.
    pub(crate) fn observe_duration(&mut self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds the values of another histogram of the same quantity.
    pub fn add(&mut self, other: &Histogram) {
        debug_assert_eq!(self.bounds, other.bounds);
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of the values.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The ranges: the largest value in each, and the number of values in it. The last one has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        self.bounds.iter().map(|bound| Some(*bound)).chain([None]).zip(self.counts)
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// 100 µs to 5 s.
pub(super) const ROUND_TRIPS: [u64; BOUNDS] = [
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
];

/// Of the event loop: 10 µs to 1 s.
pub(super) const TURNS: [u64; BOUNDS] = [
    10 * US,
    25 * US,
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    S,
];

/// 1 ms to 10 minutes.
pub(super) const REQUESTS: [u64; BOUNDS] = [
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
    60 * S,
    600 * S,
];

/// 4 KiB to 64 MiB, each twice the one before.
pub(super) const WINDOWS: [u64; BOUNDS] = [
    4 * KIB,
    8 * KIB,
    16 * KIB,
    32 * KIB,
    64 * KIB,
    128 * KIB,
    256 * KIB,
    512 * KIB,
    MIB,
    2 * MIB,
    4 * MIB,
    8 * MIB,
    16 * MIB,
    32 * MIB,
    64 * MIB,
];

/// None to 100,000.
pub(super) const STREAMS: [u64; BOUNDS] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000];

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(histogram: &Histogram) -> Vec<(Option<u64>, u64)> {
        histogram.buckets().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [ROUND_TRIPS, TURNS, REQUESTS, WINDOWS, STREAMS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }

    #[test]
    fn a_bound_belongs_to_the_range_below_it() {
        let mut streams = Histogram::new(&STREAMS);
        for value in [0, 1, 3, 5, 6, 100_000, 100_001, u64::MAX] {
            streams.observe(value);
        }
        let expected = [(Some(0), 1), (Some(1), 1), (Some(5), 2), (Some(10), 1), (Some(100_000), 1), (None, 2)];
        assert_eq!(filled(&streams), expected);
        assert_eq!((streams.count(), streams.sum()), (8, 200_016 + u128::from(u64::MAX)));
    }

    #[test]
    fn durations_are_nanoseconds() {
        let mut turns = Histogram::new(&TURNS);
        turns.observe_duration(Duration::from_millis(50));
        turns.observe_duration(Duration::from_nanos(50_000_001));
        turns.observe_duration(Duration::MAX);
        assert_eq!(filled(&turns), [(Some(50 * MS), 1), (Some(100 * MS), 1), (None, 1)]);
    }

    #[test]
    fn histograms_add_up() {
        let (mut one, mut two) = (Histogram::new(&STREAMS), Histogram::new(&STREAMS));
        for value in [0, 7] {
            one.observe(value);
        }
        for value in [7, 8, 1_000_000] {
            two.observe(value);
        }
        one.add(&two);
        assert_eq!(filled(&one), [(Some(0), 1), (Some(10), 3), (None, 1)]);
        assert_eq!((one.count(), one.sum()), (5, 1_000_022));
    }
}
