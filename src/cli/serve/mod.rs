//! `mio-quiche serve`.

mod args;
mod file;
mod listen;
mod settings;
mod site;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(super) use args::Args;
pub(super) use file::File;
use mio_quiche::{ConfigError, Error, Router, Server, StaticFiles, Workers, app::demo};
use site::Site;

use super::{Failure, print, systemd};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Each option can also be set by the environment variable MIO_QUICHE_NAME, such as MIO_QUICHE_IDLE_TIMEOUT=60 and
MIO_QUICHE_DEMO=1, and by its name in the file of --config, which has the least weight:

  dir = \"public\"
  listen = \":443\"
  cert = [\"a.pem\", \"b.pem\"]
  key = [\"a-key.pem\", \"b-key.pem\"]
  spa = true

  [headers]
  x-content-type-options = \"nosniff\"
  [headers.\"/assets/*\"]
  cache-control = \"max-age=31536000, immutable\"

  [redirects]
  \"/old\" = \"/new\"
  \"/blog/*\" = { to = \"https://blog.example/*\", status = 308 }

Exit codes: 0 success, 1 failure, 2 invalid arguments or settings.";

/// Serves, with the settings of a file, which are among the arguments, too.
pub(super) fn run(mut args: Args, file: Option<File>) -> Result<(), Failure> {
    let mut log = env_filter::Builder::new();
    log.try_parse(&args.log).map_err(|e| Failure::Usage(format!("--log '{}': {e}", args.log)))?;
    env_logger::Builder::new()
        .parse_filters(&args.log)
        .format_timestamp_millis()
        .try_init()
        .map_err(|e| Failure::Runtime(e.to_string()))?;
    if args.dir.is_none() && !args.demo {
        return Err(Failure::Usage(
            "nothing to serve: name a directory, such as mio-quiche serve public, or give --demo".to_owned(),
        ));
    }
    if let Some(dir) = &args.dir {
        check_secrets(dir, &args)?;
    }
    let address = listen::address("--listen", &args.listen, args.port)?;
    let redirect = args.redirect.as_deref().map(|value| redirect_address(value, address)).transpose()?;
    let (fields, redirects) = file.map(|file| (file.fields, file.redirects)).unwrap_or_default();
    let site = Site {
        fields,
        redirects,
        cors: std::mem::take(&mut args.files.cors),
        accounts: std::mem::take(&mut args.files.auth).into(),
    };
    let (files, demo, workers) = (files(&mut args)?, args.demo, args.workers);
    let address = address.to_string();
    let mut config = settings::config(args)?;
    config.redirect = redirect;
    let router = move || Ok(site.around(router(files.as_ref(), demo)?));
    let stats = match workers {
        1 => {
            let mut server = match systemd::socket()? {
                Some(socket) => Server::from_socket(socket, config, router()?)?,
                None => Server::bind(&address, config, router()?)?,
            };
            announce(server.local_addr(), server.admin_addr(), server.redirect_addr())?;
            server.run()?;
            server.stats()
        }
        _ => {
            systemd::no_socket("--workers needs sockets of its own")?;
            let mut workers = Workers::bind(&address, config, workers, router)?;
            announce(workers.local_addr(), workers.admin_addr(), workers.redirect_addr())?;
            log::info!("{} workers", workers.count());
            workers.run()?;
            workers.stats()
        }
    };
    log::info!("{stats:?}");
    Ok(())
}

fn files(args: &mut Args) -> Result<Option<StaticFiles>, Failure> {
    let Some(dir) = &args.dir else { return Ok(None) };
    let opened = StaticFiles::open(dir);
    let opened = opened
        .map_err(|source| Error::Config(ConfigError::Path { what: "root directory", path: dir.clone(), source }))?;
    let options = &mut args.files;
    let mut files = opened
        .listing(!options.no_listing && !options.spa)
        .precompressed(!options.no_compression)
        .compress(!options.no_compression)
        .single_page(options.spa);
    if let Some(value) = options.cache_control.take() {
        files = files.cache_control(value);
    }
    Ok(Some(files))
}

fn router(files: Option<&StaticFiles>, demo: bool) -> mio_quiche::Result<Router> {
    let mut router = match demo {
        true => demo::router(None)?,
        false => Router::new(),
    };
    let patterns: &[&str] = if demo { &["/files/*", "/*"] } else { &["/*"] };
    for pattern in files.iter().flat_map(|_| patterns) {
        if let Some(mut files) = files.cloned() {
            router = router.get(pattern, move |req, res| files.respond(req, "*", res));
        }
    }
    Ok(router)
}

/// Fails if the directory that is served has a secret in it, such as `serve .` beside `certs/key.pem`.
fn check_secrets(dir: &Path, args: &Args) -> Result<(), Failure> {
    // What does not exist is reported later.
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    for secret in args.secrets() {
        let Ok(path) = secret.canonicalize() else { continue };
        if path.strip_prefix(&dir).is_ok_and(|below| !is_hidden(below)) {
            return Err(Failure::Usage(format!(
                "'{}' is secret, and within '{}', which everybody can read: move it elsewhere, or into a directory whose \
                 name begins with a dot",
                secret.display(),
                dir.display()
            )));
        }
    }
    Ok(())
}

/// Whether files at this path are not served.
fn is_hidden(path: &Path) -> bool {
    let mut parts = path.iter().map(|part| part.as_encoded_bytes());
    parts.next().is_some_and(|part| part.starts_with(b".") && part != b".well-known")
        || parts.any(|part| part.starts_with(b"."))
}

impl Args {
    fn secrets(&self) -> impl Iterator<Item = &PathBuf> {
        let single = [&self.config, &self.transport.ticket_key, &self.transport.host_key, &self.diagnostics.keylog];
        self.key.iter().chain(single.into_iter().flatten())
    }
}

/// The address for `--redirect`; without a value, that of `--listen` with port 0, for the port that it gets.
fn redirect_address(value: &str, listen: SocketAddr) -> Result<SocketAddr, Failure> {
    match value {
        "" => Ok(SocketAddr::new(listen.ip(), 0)),
        value => listen::address("--redirect", value, None),
    }
}

fn announce(addr: SocketAddr, admin: Option<SocketAddr>, redirect: Option<SocketAddr>) -> Result<(), Failure> {
    systemd::ready(addr);
    print(&format!("listening on {addr}\n"))?;
    if let Some(addr) = admin {
        print(&format!("admin on http://{addr}/\n"))?;
    }
    match redirect {
        Some(addr) => print(&format!("redirect on https://{addr}/, by HTTP/1.1\n")),
        None => Ok(()),
    }
}
