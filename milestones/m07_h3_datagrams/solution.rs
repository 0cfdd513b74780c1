//! A solution of milestone 7's exercise: round trips.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::{ClientError, Progress, ResponseHandler, ResponseHead, Result, Stream};

const INTERVAL: Duration = Duration::from_millis(50);
/// Time for the last ones to come back.
const PATIENCE: Duration = Duration::from_secs(3);

/// Server: the number of a datagram `NUMBER TIME`.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    std::str::from_utf8(payload).ok()?.split(' ').next()?.parse().ok()
}

/// Client: sends a datagram per interval, and prints the median of the round trips.
pub(crate) struct Probe {
    pub(crate) start: Instant,
    pub(crate) count: u32,
    pub(crate) sent: u32,
    /// When to send the next one, or to end the request.
    pub(crate) due: Option<Instant>,
    pub(crate) trips: Vec<u128>,
    pub(crate) answer: Vec<u8>,
}

impl ResponseHandler for Probe {
    fn response(&mut self, s: &mut Stream<'_>, _head: &ResponseHead) -> Result<()> {
        self.due = Some(s.now());
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let all_back = self.trips.len() == self.count as usize;
        if self.due.take_if(|due| *due <= s.now() || all_back).is_some() {
            if self.sent == self.count {
                s.finish()?;
            } else {
                let time = (s.now() - self.start).as_micros();
                s.send_datagram(format!("{} {time}", self.sent).as_bytes())?;
                self.sent += 1;
                let pause = if self.sent == self.count { PATIENCE } else { INTERVAL };
                s.wake_at(*self.due.insert(s.now() + pause));
            }
        }
        Ok(if s.read_to_end(&mut self.answer, 64 * 1024)? { Progress::Done } else { Progress::Pending })
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        let text = String::from_utf8_lossy(&payload);
        if let Some(sent) = text.split_once(' ').and_then(|(_, time)| time.parse::<u128>().ok()) {
            self.trips.push((s.now() - self.start).as_micros().saturating_sub(sent));
        }
        Ok(())
    }

    fn finished(&mut self, result: Result<(), ClientError>) {
        self.trips.sort_unstable();
        let median = self.trips.get(self.trips.len() / 2);
        println!("{} of {} came back, median {median:?} us, {result:?}", self.trips.len(), self.count);
    }
}
