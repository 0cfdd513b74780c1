//! Output that is printed as it arrives.

use std::io::Write;

/// Shows the peer's text line by line, without characters that would move a terminal's cursor.
#[derive(Debug)]
pub(super) struct Lines {
    prefix: String,
    buf: Vec<u8>,
    quiet: bool,
}

/// A line that does not end is shown in pieces of this many bytes.
const MAX_LINE: usize = 64 * 1024;

impl Lines {
    pub(super) fn new(prefix: String, quiet: bool) -> Self {
        Lines { prefix, buf: Vec::new(), quiet }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        if self.quiet {
            return;
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.buf.extend_from_slice(part);
            if part.ends_with(b"\n") || self.buf.len() >= MAX_LINE {
                self.flush();
            }
        }
    }

    /// Shows the last, incomplete line.
    pub(super) fn flush(&mut self) {
        if self.quiet || self.buf.is_empty() {
            return;
        }
        let text = printable(self.buf.strip_suffix(b"\n").unwrap_or(&self.buf));
        self.buf.clear();
        show(&format!("{}{text}\n", self.prefix));
    }
}

/// Text that is safe to print on a terminal. Bytes that are not UTF-8 are shown as `\xHH`.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() && c != '\t' {
                true => out.extend(c.escape_default()),
                false => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Writes to standard output. Errors are ignored here: a closed pipe is reported at the end.
pub(super) fn show(text: &str) {
    raw(text.as_bytes());
}

pub(super) fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
