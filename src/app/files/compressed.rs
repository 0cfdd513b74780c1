//! Files that were compressed when a client asked for them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use http::HeaderValue;

use super::coding::Coding;
use super::entry::FileEntry;

/// The results, as many bytes as are allowed.
#[derive(Debug, Default)]
pub(super) struct Compressed {
    forms: HashMap<(OsString, Coding), Form>,
    /// Of all forms.
    len: u64,
    /// Counts lookups; the order of use for eviction.
    clock: u64,
}

#[derive(Debug)]
struct Form {
    /// The tag of the file that it is a form of.
    of: HeaderValue,
    /// `None` if the file does not become shorter.
    entry: Option<Arc<FileEntry>>,
    used: u64,
}

impl Form {
    /// The name and the bookkeeping count, too, so that many short forms are bounded.
    fn cost(&self, name: &OsStr) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.len()) + name.len() as u64 + 256
    }
}

impl Compressed {
    /// The form of a file, if it is known; `Some(None)` if there is none that is shorter.
    pub(super) fn get(&mut self, name: &OsStr, file: &FileEntry, coding: Coding) -> Option<Option<Arc<FileEntry>>> {
        self.clock += 1;
        let form = self.forms.get_mut(&(name.to_owned(), coding)).filter(|form| form.of == *file.etag())?;
        form.used = self.clock;
        Some(form.entry.clone())
    }

    /// Remembers a form, and forgets the least recently used ones beyond `max` bytes.
    pub(super) fn insert(
        &mut self,
        name: &OsStr,
        file: &FileEntry,
        coding: Coding,
        entry: Option<Arc<FileEntry>>,
        max: u64,
    ) {
        self.clock += 1;
        let form = Form { of: file.etag().clone(), entry, used: self.clock };
        self.remove(&(name.to_owned(), coding));
        self.len += form.cost(name);
        self.forms.insert((name.to_owned(), coding), form);
        while self.len > max {
            let oldest = self.forms.iter().min_by_key(|(_, form)| form.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &(OsString, Coding)) {
        if let Some(form) = self.forms.remove(key) {
            self.len -= form.cost(&key.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::FileRoot;
    use super::*;

    #[test]
    fn the_least_recently_used_forms_go() {
        let tmp = tempfile::TempDir::new().unwrap();
        let text = "text that repeats, ".repeat(100);
        for name in ["a", "b", "c"] {
            fs::write(tmp.path().join(name), &text).unwrap();
        }
        let mut root = FileRoot::open(tmp.path()).unwrap();
        let file = root.lookup(crate::net::now(), "a").unwrap();
        let form = file.compress(Coding::Gzip).unwrap();
        assert!(form.as_ref().is_some_and(|form| form.len() < 100));
        let mut forms = Compressed::default();
        let max = 2 * (form.as_ref().unwrap().len() + 257);
        let known = |forms: &mut Compressed, name: &str| forms.get(name.as_ref(), &file, Coding::Gzip).is_some();
        for name in ["a", "b"] {
            forms.insert(name.as_ref(), &file, Coding::Gzip, form.clone(), max);
        }
        assert_eq!(forms.len, max);
        assert!(known(&mut forms, "a"));
        forms.insert("c".as_ref(), &file, Coding::Gzip, form.clone(), max);
        assert_eq!(["a", "b", "c"].map(|name| known(&mut forms, name)), [true, false, true]);
        // Of a file that has changed, nothing is known, and its form takes the place of the other.
        fs::write(tmp.path().join("changed"), "").unwrap();
        let changed = root.lookup(crate::net::now(), "changed").unwrap();
        assert!(forms.get("a".as_ref(), &changed, Coding::Gzip).is_none());
        forms.insert("a".as_ref(), &changed, Coding::Gzip, None, max);
        assert!(forms.get("a".as_ref(), &changed, Coding::Gzip).is_some_and(|form| form.is_none()));
        assert_eq!(forms.forms.len(), 2);
        forms.insert("d".as_ref(), &file, Coding::Gzip, form, 10);
        assert_eq!((forms.len, forms.forms.len()), (0, 0));
    }
}
