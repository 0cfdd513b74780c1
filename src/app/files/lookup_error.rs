//! Why there is nothing to serve.

use std::fmt;
use std::io;

/// Why no file was found for a path.
#[derive(Debug)]
pub enum LookupError {
    /// There is nothing to serve: no such file, a hidden one, not a regular file, or a path that leaves the root.
    /// Answer 404.
    NotFound,
    /// The path names a directory and lacks the slash at its end. Answer with a redirect to the path with the slash, or
    /// relative links on the page would point to the wrong place.
    RedirectToSlash,
    /// The file exists and cannot be read: permissions, descriptors used up, a failing disk. Answer 500 and log it.
    Io(io::Error),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::RedirectToSlash => f.write_str("a directory needs a slash at the end of its path"),
            Self::Io(e) => write!(f, "cannot read the file: {e}"),
        }
    }
}

impl std::error::Error for LookupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            Self::NotFound | Self::RedirectToSlash => None,
        }
    }
}

impl From<io::Error> for LookupError {
    /// Everything a client can cause by the choice of the path is "not found"; the rest is an error of the server.
    fn from(e: io::Error) -> Self {
        match e.raw_os_error() {
            // ENXIO: a socket in the file system.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG | libc::ENXIO | libc::EXDEV) => {
                Self::NotFound
            }
            // cap-std's own error for a path that leads outside carries no OS code.
            None if e.kind() == io::ErrorKind::PermissionDenied => Self::NotFound,
            _ => Self::Io(e),
        }
    }
}
