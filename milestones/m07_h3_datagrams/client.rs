//! The client of milestone 7: measurements at the same time, on one connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mio_quiche::{Client, ClientConfig, ClientError, ClientRequest};
use mio_quiche::{Progress, ResponseHandler, ResponseHead, Result, Stream};

/// Sends numbers as datagrams, and ends its request when all are back, or after three seconds.
#[derive(Default)]
struct Probe {
    numbers: Vec<String>,
    back: Vec<String>,
    until: Option<Instant>,
    answer: Vec<u8>,
}

impl ResponseHandler for Probe {
    fn response(&mut self, s: &mut Stream<'_>, _head: &ResponseHead) -> Result<()> {
        s.wake_at(*self.until.insert(s.now() + Duration::from_secs(3)));
        Ok(self.numbers.iter().try_for_each(|number| s.send_datagram(number.as_bytes()))?)
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if self.until.take_if(|at| *at <= s.now() || self.back.len() == self.numbers.len()).is_some() {
            s.finish()?;
        }
        Ok(if s.read_to_end(&mut self.answer, 64 * 1024)? { Progress::Done } else { Progress::Pending })
    }

    fn datagram(&mut self, _s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        self.back.push(String::from_utf8_lossy(&payload).into_owned());
        Ok(())
    }

    fn finished(&mut self, result: Result<(), ClientError>) {
        match result {
            Ok(()) => print!("{} came back; {}", self.back.join(","), String::from_utf8_lossy(&self.answer)),
            Err(e) => println!("{} came back, then {e}", self.back.join(",")),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("usage: m07_client URL NUMBER,NUMBER...")?;
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    let mut client = Client::new(config)?;
    for numbers in args {
        let numbers = numbers.split(',').map(str::to_owned).collect();
        let request = ClientRequest::post(&url)?.streamed_body(None);
        client.start(request, Probe { numbers, ..Probe::default() });
    }
    Ok(client.run()?)
}
