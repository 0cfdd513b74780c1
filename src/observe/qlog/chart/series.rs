//! Points and marks that stay few, however long the log is.

/// Points kept of a line.
const MAX_POINTS: usize = 1024;

/// Marks kept of a kind.
pub(super) const MAX_MARKS: usize = 1500;

/// A value over time. When there are too many points, four become two: the least and the greatest.
#[derive(Debug, Default)]
pub(super) struct Series(Vec<(f64, f64)>);

impl Series {
    pub(super) fn push(&mut self, at: f64, value: f64) {
        if self.0.last().is_some_and(|last| last.1 == value) {
            return;
        }
        if self.0.len() >= MAX_POINTS {
            self.halve();
        }
        self.0.push((at, value));
    }

    fn halve(&mut self) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut halved = Vec::with_capacity(MAX_POINTS);
        for four in self.0.chunks(4) {
            let (Some(least), Some(greatest)) = (four.iter().min_by(by_value), four.iter().max_by(by_value)) else {
                continue;
            };
            match least.0 <= greatest.0 {
                true => halved.extend([*least, *greatest]),
                false => halved.extend([*greatest, *least]),
            }
        }
        self.0 = halved;
    }

    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.0
    }

    pub(super) fn max(&self) -> f64 {
        self.0.iter().map(|point| point.1).fold(0.0, f64::max)
    }
}

/// Marks, each with its number. When there are too many, every second one goes.
#[derive(Debug)]
pub(super) struct Marks<T> {
    kept: Vec<(u64, T)>,
    seen: u64,
    every: u64,
}

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Marks { kept: Vec::new(), seen: 0, every: 1 }
    }
}

impl<T> Marks<T> {
    /// Gives the number of the mark.
    pub(super) fn push(&mut self, mark: T) -> u64 {
        let number = self.seen;
        self.seen += 1;
        if number.is_multiple_of(self.every) {
            if self.kept.len() >= MAX_MARKS {
                self.every *= 2;
                self.kept.retain(|(number, _)| number.is_multiple_of(self.every));
            }
            if number.is_multiple_of(self.every) {
                self.kept.push((number, mark));
            }
        }
        number
    }

    /// The mark of a number, if it is kept.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let at = self.kept.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&mut self.kept.get_mut(at)?.1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().map(|(_, mark)| mark)
    }

    /// All that were pushed.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// One in so many is kept.
    pub(super) fn every(&self) -> u64 {
        self.every
    }
}

/// Spans of time in which something went on. When there are too many, the gaps that are bridged double.
#[derive(Debug)]
pub(super) struct Spans {
    spans: Vec<Span>,
    gap: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) bytes: u64,
    pub(super) frames: u64,
}

const MAX_SPANS: usize = 128;

impl Default for Spans {
    fn default() -> Self {
        Spans { spans: Vec::new(), gap: 0.5 }
    }
}

impl Spans {
    pub(super) fn push(&mut self, at: f64, bytes: u64) {
        self.add(Span { from: at, to: at, bytes, frames: 1 });
        while self.spans.len() > MAX_SPANS {
            self.gap *= 2.0;
            for span in std::mem::take(&mut self.spans) {
                self.add(span);
            }
        }
    }

    fn add(&mut self, next: Span) {
        match self.spans.last_mut() {
            Some(last) if next.from - last.to <= self.gap => {
                last.to = next.to;
                last.bytes = last.bytes.saturating_add(next.bytes);
                last.frames += next.frames;
            }
            _ => self.spans.push(next),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_keep_their_extremes() {
        let mut series = Series::default();
        for n in 0..1_000_000 {
            let value = if n == 123_457 {
                9.0
            } else if n == 654_321 {
                -9.0
            } else {
                f64::from(n % 7) / 7.0
            };
            series.push(f64::from(n), value);
        }
        assert!(series.points().len() <= MAX_POINTS);
        assert!(series.points().contains(&(123_457.0, 9.0)) && series.points().contains(&(654_321.0, -9.0)));
        assert!(series.points().is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn marks_are_spread_evenly() {
        let mut marks = Marks::default();
        for n in 0..100_000 {
            assert_eq!(marks.push(n), n);
        }
        assert_eq!((marks.seen(), marks.every()), (100_000, 128));
        assert_eq!(marks.iter().copied().collect::<Vec<_>>(), (0..100_000).step_by(128).collect::<Vec<_>>());
        assert_eq!((marks.get_mut(256).copied(), marks.get_mut(257)), (Some(256), None));
    }

    #[test]
    fn spans_join_until_they_are_few() {
        let mut spans = Spans::default();
        for n in 0..100_000 {
            spans.push(f64::from(n), 10);
        }
        assert!(spans.iter().count() <= MAX_SPANS);
        assert_eq!(
            spans.iter().map(|span| (span.bytes, span.frames)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
            (1_000_000, 100_000)
        );
    }
}
