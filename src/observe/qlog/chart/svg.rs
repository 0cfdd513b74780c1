//! Text of SVG, and axes.

use std::fmt::{self, Display, Write};

/// Text from the file in XML, and not too long: the peer chose some of it.
pub(super) fn escape(text: &str) -> String {
    const MAX: usize = 200;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => xml(&text[..end]) + "...",
        None => xml(text),
    }
}

/// Text in XML.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML 1.0 has no other control characters and no noncharacters, not even as references.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Values to positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    min: f64,
    max: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub(super) fn new((min, max): (f64, f64), (from, to): (f64, f64)) -> Self {
        // Not empty, not infinite.
        let max = if max - min > 1e-9 { max.min(1e300) } else { min + 1.0 };
        Scale { min, max, from, to }
    }

    pub(super) fn at(&self, value: f64) -> Number {
        let part = ((value - self.min) / (self.max - self.min)).clamp(-0.01, 1.01);
        Number(self.from + part * (self.to - self.from))
    }

    /// Round values at most `count` of which fit.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        let span = self.max - self.min;
        let rough = span / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.min / step).ceil();
        (0..=count).map(|n| (first + n as f64) * step).filter(|tick| *tick <= self.max * (1.0 + 1e-9)).collect()
    }
}

/// A position, with one decimal place at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 10.0).round() / 10.0;
        write!(f, "{rounded}")
    }
}

/// A unit that makes values readable: its name, and what it is worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit(pub(super) &'static str, f64);

impl Unit {
    pub(super) fn of_bytes(max: f64) -> Self {
        match max {
            max if max >= 2e9 => Unit("GB", 1e9),
            max if max >= 2e6 => Unit("MB", 1e6),
            max if max >= 2e3 => Unit("kB", 1e3),
            _ => Unit("bytes", 1.0),
        }
    }

    /// Of a time in milliseconds.
    pub(super) fn of_time(max: f64) -> Self {
        match max {
            max if max >= 600_000.0 => Unit("minutes", 60_000.0),
            max if max >= 2000.0 => Unit("s", 1000.0),
            max if max >= 2.0 => Unit("ms", 1.0),
            _ => Unit("\u{b5}s", 0.001),
        }
    }

    pub(super) const NONE: Unit = Unit("", 1.0);

    /// A tick's value, without needless zeros.
    pub(super) fn label(&self, value: f64) -> String {
        let value = value / self.1;
        let digits = if value.abs() >= 100.0 || value == value.trunc() { 0 } else { 3 };
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// A time in milliseconds.
pub(super) fn time(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.3} s", ms / 1000.0) }
}

/// A number of bytes.
pub(super) fn bytes(count: f64) -> String {
    match Unit::of_bytes(count) {
        Unit(name, 1.0) => format!("{count} {name}"),
        Unit(name, worth) => format!("{:.1} {name}", count / worth),
    }
}

/// Appends formatted text: a `String` never fails.
macro_rules! add {
    ($out:expr, $($format:tt)*) => { let _ = std::fmt::Write::write_fmt(&mut $out, format_args!($($format)*)); };
}
pub(super) use add;

/// A line through points whose values hold until the next one, up to `end`.
pub(super) fn steps(points: &[(f64, f64)], end: f64, x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    for (n, (at, value)) in points.iter().take_while(|(at, _)| *at <= end).enumerate() {
        let _ = match n {
            0 => write!(path, "M{} {}", x.at(*at), y.at(*value)),
            _ => write!(path, "H{}V{}", x.at(*at), y.at(*value)),
        };
    }
    if !path.is_empty() {
        let _ = write!(path, "H{}", x.at(end));
    }
    path
}

/// A line from point to point.
pub(super) fn line(points: &[(f64, f64)], x: &Scale, y: &Scale) -> String {
    let mut path = String::new();
    for (n, (at, value)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if n == 0 { 'M' } else { 'L' }, x.at(*at), y.at(*value));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = |min, max, count| Scale::new((min, max), (0.0, 100.0)).ticks(count);
        assert_eq!(ticks(0.0, 97.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 0.0, 2), [0.0, 0.5, 1.0], "a span of nothing is one of 1");
        for max in [1e-8, 1e300, f64::INFINITY] {
            assert!(ticks(0.0, max, 5).len() <= 6, "{max}");
        }
    }

    #[test]
    fn labels_have_no_needless_digits() {
        let of = |unit: Unit, value| format!("{} {}", unit.label(value), unit.0);
        assert_eq!(of(Unit::of_bytes(3e6), 1_500_000.0), "1.5 MB");
        assert_eq!(of(Unit::of_time(5000.0), 2000.0), "2 s");
        assert_eq!(of(Unit::of_time(1.0), 0.6), "600 \u{b5}s");
        assert_eq!((bytes(999.0), bytes(1_234_567.0)), ("999 bytes".to_owned(), "1234.6 kB".to_owned()));
        assert_eq!((time(1.25), time(61_000.0)), ("1.2 ms".to_owned(), "61.000 s".to_owned()));
    }

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(
            escape("</title><script>&\"'\u{1b}\n\u{ffff}"),
            "&lt;/title&gt;&lt;script&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(escape(&"x".repeat(201)), format!("{}...", "x".repeat(200)));
    }
}
