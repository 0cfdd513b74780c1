//! `mio-quiche` on a terminal, where somebody types.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::server::Guard;
use super::{DEADLINE, wait_for};

/// What a terminal makes of these keys.
pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";

/// The width of a terminal.
pub(crate) const COLUMNS: usize = 100;

pub(crate) struct Terminal {
    child: Guard,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
    screen: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Runs `mio-quiche` in `dir` with a terminal of its own.
    pub(crate) fn run(dir: &Path, args: &[&str]) -> Self {
        // A child that another test starts meanwhile must not keep it open.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let terminal: OwnedFd = ioctl_tiocgptpeer(&master, flags).unwrap();
        // Keys make signals only for the session whose terminal it is.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_mio-quiche")]).args(args).current_dir(dir).env("TERM", "xterm");
        for variable in ["RUST_LOG", "QLOGDIR", "SSLKEYLOGFILE", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
        let child = Guard(command.spawn().expect("setsid starts"));
        // It holds copies of the terminal, and as long as there is one, reading does not end.
        drop(command);
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        let screen = Some(std::thread::spawn(move || {
            let mut buf = [0; 4096];
            // When nobody has the terminal any more, there is an error.
            while let Ok(n) = screen.read(&mut buf) {
                seen.lock().unwrap().extend_from_slice(&buf[..n]);
            }
        }));
        Terminal { child, keyboard, shown, screen }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown.
    pub(crate) fn wait_for(&self, text: &str) {
        wait_for(text, DEADLINE, || self.shown().contains(text).then_some(()));
    }

    /// All that was shown so far, with the terminal's line ends.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits for the end; gives the exit code and all that was shown.
    pub(crate) fn finish(mut self) -> (i32, String) {
        let status = self.child.wait("mio-quiche ends", DEADLINE);
        self.screen.take().unwrap().join().unwrap();
        let shown = self.shown().replace("\r\n", "\n");
        (status.code().unwrap_or_else(|| panic!("{status}: {shown}")), shown)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the terminal shows:\n{}", self.shown());
        }
    }
}
