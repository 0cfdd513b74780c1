//! `--retry`: when a transfer is tried again, as by curl.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::args::RetryArgs;
use super::failure::{CONNECT, RESOLVE, STATUS, TIMEOUT};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// How a try ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try<'a> {
    pub(super) exit_code: u8,
    pub(super) status: Option<u16>,
    pub(super) fields: &'a HeaderMap,
    /// Earlier tries.
    pub(super) retries: u32,
    /// The pause before it.
    pub(super) pause: Duration,
    /// Since the first one began.
    pub(super) elapsed: Duration,
    pub(super) wall: SystemTime,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Give,
    /// The server asks for more time than there is.
    TooLong,
    /// Another try after this time. `pause`: without what the server asks for.
    After {
        wait: Duration,
        pause: Duration,
    },
}

impl RetryArgs {
    pub(super) fn next(&self, ended: &Try<'_>) -> Next {
        // As with all of curl's limits, 0 is none.
        let max_time = self.retry_max_time.filter(|max| !max.is_zero());
        if ended.retries >= self.retry || max_time.is_some_and(|max| ended.elapsed >= max) {
            return Next::Give;
        }
        let by_status = [0, STATUS].contains(&ended.exit_code)
            && matches!(ended.status, Some(408 | 429 | 500 | 502 | 503 | 504 | 522 | 524));
        let is_transient = match ended.exit_code {
            RESOLVE | TIMEOUT => true,
            CONNECT => self.retry_connrefused,
            _ => by_status,
        };
        let is_retried = is_transient || self.retry_all_errors && ended.exit_code != 0;
        if !is_retried {
            return Next::Give;
        }
        let asked = by_status.then(|| retry_after(ended.fields, ended.wall)).flatten();
        let delay = self.retry_delay.filter(|delay| !delay.is_zero());
        let pause = match (asked, delay) {
            (_, Some(delay)) => delay,
            (Some(_), None) => ended.pause,
            (None, None) if ended.pause.is_zero() => FIRST_PAUSE,
            (None, None) => (ended.pause * 2).min(MAX_PAUSE),
        };
        let wait = asked.unwrap_or(pause);
        match max_time {
            Some(max) if ended.elapsed.saturating_add(wait) > max => Next::TooLong,
            _ => Next::After { wait, pause },
        }
    }
}

/// The time that a server asks for, if it is any (RFC 9110 section 10.2.3).
fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RetryArgs {
        RetryArgs {
            retry: 3,
            retry_delay: None,
            retry_max_time: None,
            retry_connrefused: false,
            retry_all_errors: false,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn which_failures_and_when() {
        let none = HeaderMap::new();
        let ended = |exit_code, status| Try {
            exit_code,
            status,
            fields: &none,
            retries: 0,
            pause: Duration::ZERO,
            elapsed: seconds(1),
            wall: SystemTime::UNIX_EPOCH,
        };
        let after = |n| Next::After { wait: seconds(n), pause: seconds(n) };
        for (code, status) in [(0, Some(503)), (22, Some(429)), (28, None), (28, Some(200)), (6, None)] {
            assert_eq!(args().next(&ended(code, status)), after(1), "{code} {status:?}");
        }
        for (code, status) in [(0, Some(404)), (22, Some(501)), (7, None), (56, Some(503)), (0, Some(200))] {
            assert_eq!(args().next(&ended(code, status)), Next::Give, "{code} {status:?}");
        }
        let all = RetryArgs { retry_all_errors: true, ..args() };
        assert_eq!(all.next(&ended(56, Some(200))), after(1));
        assert_eq!(all.next(&ended(0, Some(404))), Next::Give, "no failure without -f");
        assert_eq!(RetryArgs { retry_connrefused: true, ..args() }.next(&ended(7, None)), after(1));

        assert_eq!(args().next(&Try { retries: 3, ..ended(28, None) }), Next::Give);
        assert_eq!(args().next(&Try { pause: seconds(2), ..ended(28, None) }), after(4));
        assert_eq!(args().next(&Try { pause: seconds(500), ..ended(28, None) }), after(600));
        let delay = RetryArgs { retry_delay: Some(seconds(7)), ..args() };
        assert_eq!(delay.next(&Try { pause: seconds(7), ..ended(28, None) }), after(7));
        let limited = |max| RetryArgs { retry_max_time: Some(seconds(max)), ..args() };
        assert_eq!(limited(1).next(&ended(28, None)), Next::Give);
        assert_eq!(limited(2).next(&ended(28, None)), after(1));
        assert_eq!(limited(2).next(&Try { pause: seconds(1), ..ended(28, None) }), Next::TooLong);
        assert_eq!(limited(0).next(&ended(28, None)), after(1));
    }

    #[test]
    fn what_the_server_asks_for() {
        let next = |text: &str, exit_code| {
            let fields = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            args().next(&Try {
                exit_code,
                status: Some(503),
                fields: &fields,
                retries: 0,
                pause: Duration::ZERO,
                elapsed: seconds(1),
                wall: SystemTime::UNIX_EPOCH + seconds(10),
            })
        };
        assert_eq!(next("5", 0), Next::After { wait: seconds(5), pause: Duration::ZERO });
        let date = Next::After { wait: seconds(20), pause: Duration::ZERO };
        assert_eq!(next("Thu, 01 Jan 1970 00:00:30 GMT", 22), date);
        let own = Next::After { wait: seconds(1), pause: seconds(1) };
        for text in ["0", "soon", "Thu, 01 Jan 1970 00:00:05 GMT", "-3"] {
            assert_eq!(next(text, 0), own, "{text}");
        }
        assert_eq!(next("5", 28), own, "only a status comes with one");
    }
}
