//! Files that are replaced atomically.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file atomically, readable by its user only.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
