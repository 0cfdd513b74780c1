//! `mio-quiche cert`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use mio_quiche::app::cert::{CertError, CertInfo, DevCert};
use mio_quiche::{Certificate, net};

use super::{Failure, print};

/// `--if-needed` replaces a certificate that expires sooner than this.
const NEEDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Names in every certificate.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Directory for cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// Further names or addresses; localhost, 127.0.0.1 and ::1 are always included
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Do nothing if the certificate there has its key, is for all these names, and is valid for another day
    #[arg(long)]
    if_needed: bool,
    /// Also replace files that this command did not make
    #[arg(long)]
    force: bool,
    /// Print the base64 SHA-256 of the certificate alone; makes none unless --if-needed is given
    #[arg(long)]
    print_hash: bool,
    /// Tell how to trust the authority of the certificate there in curl, Debian, Chromium and Firefox; makes none
    #[arg(long, conflicts_with_all = ["if_needed", "force", "print_hash", "names"])]
    trust: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let path = args.out.join("cert.pem");
    if args.trust {
        let info = CertInfo::read(&path).map_err(failure)?;
        return print(&how_to_trust(&args.out, &info));
    }
    let only_reads = args.print_hash && !args.if_needed;
    let makes = !(only_reads || args.if_needed && is_good(args));
    if makes {
        if !args.force {
            DevCert::check_replaceable(&args.out).map_err(failure)?;
        }
        let cert = DevCert::generate(&args.names).map_err(failure)?;
        cert.write(&args.out).map_err(failure)?;
    }
    let info = CertInfo::read(&path).map_err(failure)?;
    if args.print_hash {
        return print(&format!("{}\n", info.sha256_base64()));
    }
    if !makes {
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

/// Whether the certificate that is there will do.
fn is_good(args: &Args) -> bool {
    let (cert, key) = (args.out.join("cert.pem"), args.out.join("key.pem"));
    let Ok(info) = CertInfo::read(&cert) else { return false };
    let mut names = LOCAL_NAMES.into_iter().chain(args.names.iter().map(String::as_str));
    info.is_valid_for(net::wall_clock(), NEEDED_FOR)
        && names.all(|name| info.is_for(name))
        && Certificate::from_files(cert, key).check().is_ok()
}

fn how_to_trust(dir: &Path, info: &CertInfo) -> String {
    let ca = dir.join("ca.pem");
    format!(
        "The authority in {ca} has signed {cert}.
Both are valid until {until}. A new certificate has a new authority, which is to be trusted again. Its key was
discarded, so that nobody can sign other names with it.

mio-quiche, curl
  mio-quiche get --cacert {ca} https://localhost:4433/
  curl --http3-only --cacert {ca} https://localhost:4433/

Debian: all programs that use the system's authorities
  sudo cp {ca} /usr/local/share/ca-certificates/mio-quiche.crt && sudo update-ca-certificates
  undo: sudo rm /usr/local/share/ca-certificates/mio-quiche.crt && sudo update-ca-certificates --fresh

Chromium and Chrome on Linux (certutil is in Debian's libnss3-tools)
  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n mio-quiche -i {ca}
  undo: certutil -d sql:$HOME/.pki/nssdb -D -n mio-quiche
  Over HTTP/3 they trust only the authorities that come with the browser, except for servers named on the command line:
  chromium --origin-to-force-quic-on=localhost:4433 https://localhost:4433/
  or without any authority, for this certificate only:
  chromium --origin-to-force-quic-on=localhost:4433 --ignore-certificate-errors-spki-list={spki}

Firefox
  Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import: {ca}, for websites
  It speaks no HTTP/3 while it trusts such an authority, unless about:config has
  network.http.http3.disable_when_third_party_roots_found set to false

WebTransport in pages, in every browser: no authority is needed with
  new WebTransport(url, {{ serverCertificateHashes: [{{ algorithm: \"sha-256\", value }}] }})
  where value has the bytes of this, in base64: {hash}
",
        ca = ca.display(),
        cert = dir.join("cert.pem").display(),
        until = httpdate::fmt_http_date(info.not_after),
        spki = info.spki_sha256_base64(),
        hash = info.sha256_base64(),
    )
}

fn failure(error: CertError) -> Failure {
    match error {
        CertError::Name(_) => Failure::Usage(error.to_string()),
        CertError::Foreign(_) => {
            Failure::Runtime(format!("{error}: it is kept (--force replaces it, --out names another directory)"))
        }
        CertError::Read { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::Runtime(format!("{error} (make one with: mio-quiche cert)"))
        }
        _ => Failure::Runtime(error.to_string()),
    }
}
