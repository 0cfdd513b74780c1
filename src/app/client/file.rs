//! Files that appear when they are complete.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ClientError;

/// A file under way. Dropping it removes what was written.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// Renamed at the end.
    Temporary(NamedTempFile),
    /// A device or a pipe.
    Special(File),
}

impl PartFile {
    pub(super) fn create(path: &Path) -> Result<Self, ClientError> {
        let target = open(path).map_err(|e| ClientError::save(path, e))?;
        Ok(PartFile { path: path.to_owned(), target })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let written = match &mut self.target {
            Target::Temporary(file) => file.write_all(bytes),
            Target::Special(file) => file.write_all(bytes),
        };
        written.map_err(|e| ClientError::save(&self.path, e))
    }

    /// Gives the file its name.
    pub(super) fn complete(self) -> Result<(), ClientError> {
        let Target::Temporary(file) = self.target else { return Ok(()) };
        // A symbolic link stays, and what it leads to is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        file.persist(path).map(drop).map_err(|e| ClientError::save(&self.path, e.error))
    }
}

fn open(path: &Path) -> io::Result<Target> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return File::options().write(true).open(path).map(Target::Special);
    }
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    // As for any new file: the umask takes its part.
    builder.prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(dir).map(Target::Temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "before").unwrap();
        let mut part = PartFile::create(&path).unwrap();
        part.write(b"af").unwrap();
        part.write(b"ter").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let under_way = names(dir.path());
        assert!(under_way[0].starts_with(".file.") && under_way[0].ends_with(".part"), "{under_way:?}");
        part.complete().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(dir.path())), (b"after".to_vec(), vec!["file".to_owned()]));
        drop(PartFile::create(&dir.path().join("other")).unwrap());
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn links_and_devices_stay_and_a_new_file_has_the_usual_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::write(&path, "").unwrap();
        for path in [&link, &PathBuf::from("/dev/null")] {
            let mut part = PartFile::create(path).unwrap();
            part.write(b"content").unwrap();
            part.complete().unwrap();
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let usual = dir.path().join("usual");
        File::create(&usual).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/file");
        let error = PartFile::create(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write '{}': ", path.display())), "{error}");
        assert!(PartFile::create(dir.path()).is_err(), "a directory");
    }
}
