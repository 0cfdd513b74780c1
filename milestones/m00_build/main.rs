//! Milestone 0: everything is built and linked, and quiche's TLS accepts our certificate.

use std::process::ExitCode;
use std::time::Duration;

use mio_quiche::app::cert::{CertInfo, DevCert};
use mio_quiche::{Endpoint, Error, ServerConfig, net};

#[path = "../exit.rs"]
mod exit;

fn main() -> ExitCode {
    exit::code(check_build())
}

fn check_build() -> mio_quiche::Result<()> {
    println!("{}", mio_quiche::version());

    // A certificate of our own, in a directory that is removed at the end.
    let dir = tempfile::tempdir()?;
    DevCert::generate(&[]).and_then(|cert| cert.write(dir.path())).map_err(Error::handler)?;
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let info = CertInfo::read(&cert).map_err(Error::handler)?;
    println!("certificate: SHA-256 {}", info.sha256_hex());
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let good = (1..).take_while(|days| info.is_valid_for(net::wall_clock(), DAY * *days)).count();
    println!("certificate: good for {good} more days");

    // The settings alone: no file is opened for TLS yet, but every number is checked.
    let mut config = ServerConfig::from_pem(&cert, &key)?;
    config.validate()?;
    println!("settings: valid");

    // The same check with an invalid setting.
    config.transport.max_udp_payload = 100;
    if let Err(e) = config.validate() {
        println!("settings with a mistake: {e}");
    }
    config.transport.max_udp_payload = 1350;

    // An endpoint is the whole engine. It passes certificate and key to the TLS library, which checks that they belong
    // together. It needs no socket.
    let endpoint = Endpoint::server(config, net::now(), net::wall_clock())?;
    println!("TLS configuration: made, {} connections", endpoint.connection_count());
    Ok(())
}
