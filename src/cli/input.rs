//! Files that a command reads whole.

use std::io::{self, Read};
use std::path::Path;

/// Bytes of a file; a device such as /dev/zero has no end.
const MAX_SIZE: u64 = 16 << 20;

/// The content of a file.
///
/// # Errors
/// Those of reading it, and one if it has more than 16 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    bounded(std::fs::File::open(path)?)
}

/// The content of a file, or of standard input, which is named `-`.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_or_stdin(path: &Path) -> io::Result<Vec<u8>> {
    if path.as_os_str() == "-" { bounded(io::stdin()) } else { read(path) }
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match from.take(MAX_SIZE + 1).read_to_end(&mut bytes)? as u64 > MAX_SIZE {
        true => Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes"))),
        false => Ok(bytes),
    }
}
