//! The library's server in a thread, for routes of a test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use mio_quiche::{Router, Server, ServerConfig, ServerHandle};
use tempfile::TempDir;

use super::server::make_cert;

pub(crate) struct Local {
    addr: SocketAddr,
    admin: Option<SocketAddr>,
    handle: ServerHandle,
    thread: JoinHandle<()>,
    dir: TempDir,
}

impl Local {
    /// On a port that the system chooses.
    pub(crate) fn start(
        set: impl FnOnce(&mut ServerConfig) + Send + 'static,
        router: impl FnOnce() -> Router + Send + 'static,
    ) -> Self {
        let dir = TempDir::new().unwrap();
        make_cert(dir.path());
        let (sender, started) = mpsc::channel();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let thread = thread::spawn(move || {
            let mut config = ServerConfig::from_pem(cert, key).unwrap();
            set(&mut config);
            let mut server = Server::bind("127.0.0.1:0", config, router()).unwrap();
            sender.send((server.local_addr(), server.admin_addr(), server.handle())).unwrap();
            server.run().unwrap();
        });
        let (addr, admin, handle) = started.recv().unwrap();
        Local { addr, admin, handle, thread, dir }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the admin port.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("an admin port")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    pub(crate) fn stop(self) {
        self.handle.shutdown().unwrap();
        self.thread.join().unwrap();
    }
}
