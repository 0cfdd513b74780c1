//! Programs in C and Python on the library, with curl and with a session of ours; and the header.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mio_quiche::ffi::*;

use crate::abi::{Engine, cert, ok};

/// What `scripts/test` sets.
pub(crate) fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!(
            "{variable} is not set: run scripts/test, which installs the clients, builds the library and sets it"
        ),
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that does not outlive its test, and its address.
struct Program {
    child: Child,
    addr: String,
    _dir: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Runs a server, whose last arguments are the files of its certificate.
    fn start(prepare: impl FnOnce(&Path) -> Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = [("cert.pem", cert().cert_pem()), ("key.pem", cert().key_pem())];
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut command = prepare(dir.path());
        command.args(files.map(|(name, _)| dir.path().join(name))).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).trim().to_owned();
        Program { child, addr, _dir: dir }
    }

    fn curl(&self, path: &str) -> String {
        let output = Command::new(tool("MIO_QUICHE_CURL"))
            .args(["-q", "-sS", "-k", "--http3-only", "--max-time", "60"])
            .arg(format!("https://{}{path}", self.addr))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_program_in_c_serves_curl_and_a_session() {
    let library = tool("MIO_QUICHE_LIBRARY");
    let mut program = Program::start(|dir| {
        let program = dir.join("server");
        let built = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-Iinclude", "examples/c/server.c", "-lmio_quiche"])
            .arg(format!("-L{}", library.display()))
            .arg(format!("-Wl,-rpath,{}", library.display()))
            .arg("-o")
            .arg(&program)
            .current_dir(root())
            .status();
        assert!(built.unwrap().success());
        Command::new(program)
    });
    assert_eq!(program.curl("/"), "hello from C\n");
    let mut client = Engine::client(&[]);
    let session = client.connect(&format!("https://{}/", program.addr), &[]);
    client.next_of(MQ_EVENT_SESSION_OPENED, session);
    ok(client.send_datagram(session, b"echo"));
    assert_eq!(client.next_of(MQ_EVENT_DATAGRAM, session).data, b"echo");
    drop(client);
    assert_eq!(program.curl("/stop"), "hello from C\n");
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn the_program_in_python_serves_curl() {
    let library = tool("MIO_QUICHE_LIBRARY").join("libmio_quiche.so");
    let mut program = Program::start(|_| {
        let mut command = Command::new("python3");
        command.arg(root().join("examples/python/server.py")).arg(library);
        command
    });
    assert_eq!(program.curl("/a?b"), "hello from Python: /a?b\n");
    assert_eq!(program.curl("/stop"), "hello from Python: /stop\n");
    assert!(program.child.wait().unwrap().success());
}

/// The names behind `prefix` in a text, up to what cannot be part of a name.
fn names<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn the_header_has_every_function_and_constant() {
    let header = fs::read_to_string(root().join("include/mio_quiche.h")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("src/ffi")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for function in names(&text, "extern \"C\" fn ").filter(|name| name.starts_with("mq_")) {
            assert!(
                header.contains(&format!(" {function}(")) || header.contains(&format!("*{function}(")),
                "{function}"
            );
            count += 1;
        }
        for constant in names(&text, "\npub const ").filter(|name| name.starts_with("MQ_")) {
            let value = text.split(&format!("pub const {constant}: ")).nth(1).unwrap();
            let value = value.split(['=', ';']).nth(1).unwrap().trim();
            assert!(header.contains(&format!("#define {constant} {value}\n")), "{constant} {value}");
            count += 1;
        }
    }
    assert!(count > 90, "src/ffi was read: {count}");
}
