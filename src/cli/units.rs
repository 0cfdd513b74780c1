//! Numbers with units on the command line.

use std::time::Duration;

/// A time: seconds, or a number with `ms`, `s`, `m` or `h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, scale) = match text {
        _ if text.ends_with("ms") => (text.trim_end_matches("ms"), 1e-3),
        _ if text.ends_with('s') => (&text[..text.len() - 1], 1.0),
        _ if text.ends_with('m') => (&text[..text.len() - 1], 60.0),
        _ if text.ends_with('h') => (&text[..text.len() - 1], 3600.0),
        _ => (text, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| "not a time such as 10, 10s, 500ms, 2m or 1h".to_owned())?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

/// A number of things: `k` is 1000, `M` a million, `G` a billion.
pub(super) fn count(text: &str) -> Result<u64, String> {
    scaled(text, 1000).ok_or_else(|| "not a number such as 500, 10k or 1M".to_owned())
}

/// A number of bytes: `k`, `M` and `G` are 2^10, 2^20 and 2^30, as curl has them.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, 1024).ok_or_else(|| "not a number of bytes such as 500, 10k or 1M".to_owned())
}

fn scaled(text: &str, thousand: u64) -> Option<u64> {
    let power = match text.as_bytes().last()? {
        b'k' | b'K' => 1,
        b'm' | b'M' => 2,
        b'g' | b'G' => 3,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(power > 0)];
    digits.parse::<u64>().ok()?.checked_mul(thousand.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        let millis = |text| duration(text).map(|d| d.as_millis()).ok();
        let times = ["0", "10", "10s", "0.5", "500ms", "1m", "1.5h"].map(millis);
        assert_eq!(times, [0, 10_000, 10_000, 500, 500, 60_000, 5_400_000].map(Some));
        for wrong in ["", "s", "ms", "x", "-1", "-1s", "1d", "1 s", "nan", "inf", "1e300h", "1é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            ["0", "7", "10k", "1M", "2G"].map(|t| count(t).ok()),
            [0, 7, 10_000, 1_000_000, 2_000_000_000].map(Some)
        );
        assert_eq!(["7", "10K", "1m", "2g"].map(|t| bytes(t).ok()), [7, 10 << 10, 1 << 20, 2 << 30].map(Some));
        for wrong in ["", "k", "1.5k", "-1", "1kk", "é", "99999999999G"] {
            assert!(count(wrong).is_err() && bytes(wrong).is_err(), "{wrong}");
        }
    }
}
