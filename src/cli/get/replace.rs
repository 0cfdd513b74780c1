//! Files that are there as a whole, or as they were.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file that is there as a whole or not at all, and for the user alone.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
