//! `mio-quiche cert`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use mio_quiche::app::cert::{CertError, CertInfo, DevCert};
use mio_quiche::net;

use super::{Failure, print};

/// `--if-needed` replaces a certificate that expires sooner than this.
const NEEDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Directory for cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// Further names or addresses; localhost, 127.0.0.1 and ::1 are always included
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Do nothing if the certificate there is valid for another day
    #[arg(long)]
    if_needed: bool,
    /// Print the base64 SHA-256 of the certificate alone
    #[arg(long)]
    print_hash: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let path = args.out.join("cert.pem");
    let have = args.if_needed
        && args.out.join("key.pem").exists()
        && CertInfo::read(&path).is_ok_and(|info| info.is_valid_for(net::wall_clock(), NEEDED_FOR));
    if !have {
        let cert = DevCert::generate(&args.names).map_err(failure)?;
        cert.write(&args.out).map_err(failure)?;
    }
    let info = CertInfo::read(&path).map_err(failure)?;
    if args.print_hash {
        return print(&format!("{}\n", info.sha256_base64()));
    }
    if have {
        return Ok(());
    }
    print(&format!(
        "certificate {} (CA beside it in ca.pem), valid until {}\n\
         SHA-256, hex      {}\n\
         SHA-256, base64   {}\n\
         SPKI SHA-256      {}\n",
        path.display(),
        httpdate::fmt_http_date(info.not_after),
        info.sha256_hex(),
        info.sha256_base64(),
        info.spki_sha256_base64(),
    ))
}

fn failure(error: CertError) -> Failure {
    match error {
        CertError::Name(_) => Failure::Usage(error.to_string()),
        _ => Failure::Runtime(error.to_string()),
    }
}
