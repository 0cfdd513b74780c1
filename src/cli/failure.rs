//! Failures of a command, and helpers that the commands share.

use std::io::ErrorKind;
use std::time::Duration;

/// Why a command ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong arguments or settings: exit code 2.
    Usage(String),
    /// Anything else: exit code 1.
    Runtime(String),
    /// A client's failures, by exit code.
    Coded(u8, String),
}

impl Failure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Failure::Runtime(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Coded(code, _) => *code,
        }
    }

    pub(super) fn message(&self) -> &str {
        let (Failure::Runtime(message) | Failure::Usage(message) | Failure::Coded(_, message)) = self;
        message
    }
}

impl From<mio_quiche::Error> for Failure {
    fn from(error: mio_quiche::Error) -> Self {
        let remedy = remedy(&error);
        match error {
            mio_quiche::Error::Config(e) => Failure::Usage(format!("{e}{remedy}")),
            // The routes are those of the arguments and of the settings file.
            mio_quiche::Error::Route(e) => Failure::Usage(e.to_string()),
            e => Failure::Runtime(format!("{e}{remedy}")),
        }
    }
}

/// What can be done about an error, in terms of the command line.
fn remedy(error: &mio_quiche::Error) -> &'static str {
    use mio_quiche::{ConfigError, Error};
    match error {
        Error::Config(ConfigError::Unreadable { .. } | ConfigError::NotPem { .. }) => {
            " (make one with: mio-quiche cert)"
        }
        Error::Config(ConfigError::Mismatch { .. }) => " (make a new pair with: mio-quiche cert)",
        Error::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            "; choose a port with --listen ADDR:PORT"
        }
        Error::Port { name, source, .. } if source.kind() == ErrorKind::AddrInUse => match *name {
            "redirect" => "; choose a port with --redirect ADDR:PORT",
            _ => "; choose a port with --admin ADDR:PORT",
        },
        _ => "",
    }
}

/// A number of seconds on the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// Prints to standard output; a closed pipe (`| head`) is not a failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::Runtime(format!("cannot write: {e}"))),
        _ => Ok(()),
    }
}
