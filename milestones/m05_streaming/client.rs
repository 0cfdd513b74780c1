//! The client of milestone 5: counts responses, all at the same time.

use mio_quiche::{Client, ClientConfig, ClientError, ClientRequest, Progress, Recv, ResponseHandler, Result, Stream};

/// Counts the bytes of a response.
struct Count(u64);

impl ResponseHandler for Count {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        let mut buf = [0; 16 * 1024];
        loop {
            match s.read(&mut buf)? {
                Recv::Data(n) => self.0 += n as u64,
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => return Ok(Progress::Done),
            }
        }
    }

    fn finished(&mut self, result: Result<(), ClientError>) {
        match result {
            Ok(()) => println!("{} bytes, to the end", self.0),
            Err(e) => println!("{} bytes, then {e}", self.0),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    let mut client = Client::new(config)?;
    for url in std::env::args().skip(1) {
        client.start(ClientRequest::get(&url)?, Count(0));
    }
    Ok(client.run()?)
}
