//! Limits of the qlog files that a command writes.

use clap::Args as ClapArgs;
use mio_quiche::QlogMax;

/// Files kept if only their size is given.
const FILES: usize = 100;

#[derive(Debug, ClapArgs)]
pub(crate) struct QlogLimits {
    /// Keep the N newest qlog files (default 100) of at most BYTES each; a connection with more goes on in another file
    #[arg(long = "qlog-max", value_name = "BYTES[,N]", value_parser = parse)]
    pub(crate) max: Option<QlogMax>,
}

fn parse(text: &str) -> Result<QlogMax, String> {
    let (bytes, files) = match text.split_once(',') {
        Some((bytes, files)) => (bytes, files.parse().map_err(|_| "N is not a number of files".to_owned())?),
        None => (text, FILES),
    };
    Ok(QlogMax { bytes: bytes.parse().map_err(|_| "not a number of bytes".to_owned())?, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files() {
        assert_eq!(parse("1000000"), Ok(QlogMax { bytes: 1_000_000, files: 100 }));
        assert_eq!(parse("65536,7"), Ok(QlogMax { bytes: 65_536, files: 7 }));
        for wrong in ["", ",", "1,", ",1", "-1", "1,2,3", "1 ,2", "10M"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
