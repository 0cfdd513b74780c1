//! The arguments of `mio-quiche get`, and the jobs made from them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, RANGE, REFERER, USER_AGENT,
};
use http::{HeaderMap, Method};
use mio_quiche::{Certificate, ClientConfig, ClientRequest};

use super::body::{Body, Part};
use super::data::DataArgs;
use super::failure::{CA_FILE, CLIENT_CERTIFICATE, PROXY, Problem, URL, USAGE, WRITE};
use super::rate::parse_rate;
use crate::cli::remote::{Family, KnownHosts};

/// Options that curl has keep their names and meanings.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct Args {
    /// URLs to get; https:// may be omitted
    #[arg(value_name = "URL", required = true)]
    pub(super) urls: Vec<String>,

    #[command(flatten)]
    pub(super) request: RequestArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Request")]
pub(super) struct RequestArgs {
    /// Method, instead of GET, or POST with -d, or PUT with -T
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// Header field 'Name: value'; 'Name:' leaves one out, 'Name;' sends it empty; repeatable
    #[arg(short = 'H', long = "header", value_name = "FIELD", allow_hyphen_values = true)]
    headers: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// PUT this file (- is standard input); to a URL that ends in / its name is appended
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with_all = ["DataArgs", "head"])]
    upload_file: Option<PathBuf>,
    /// Send HEAD, and show the header fields only
    #[arg(short = 'I', long)]
    pub(super) head: bool,
    /// Name and password (HTTP Basic), for the URLs' own hosts
    #[arg(short = 'u', long, value_name = "NAME:PASSWORD")]
    user: Option<String>,
    /// User-Agent; '' sends none
    #[arg(short = 'A', long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Referer
    #[arg(short = 'e', long, value_name = "URL")]
    referer: Option<String>,
    /// Ask for these bytes only, such as 0-99, 500- or -100 (the last 100)
    #[arg(short = 'r', long, value_name = "RANGE", allow_hyphen_values = true)]
    range: Option<String>,
    /// Follow redirects, at most 50
    #[arg(short = 'L', long)]
    pub(super) location: bool,
    /// Repeat each request N times
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) repeat: usize,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Write to this file instead of standard output (-); with several URLs, one -o for each
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    outputs: Vec<PathBuf>,
    /// Write to a file named after the last segment of the URL's path, for every URL without -o
    #[arg(short = 'O', long)]
    remote_name: bool,
    /// Print the response's header fields before its body
    #[arg(short = 'i', long)]
    pub(super) include: bool,
    /// Write the response's heads to this file (- is standard output)
    #[arg(short = 'D', long, value_name = "FILE")]
    pub(super) dump_header: Option<PathBuf>,
    /// Make missing directories of output files
    #[arg(long)]
    pub(super) create_dirs: bool,
    /// Fail with exit code 22 on status 400 and above, without the body
    #[arg(short = 'f', long)]
    pub(super) fail: bool,
    /// As -f, with the body
    #[arg(long, conflicts_with = "fail")]
    pub(super) fail_with_body: bool,
    /// Fail with exit code 63 on a larger body; k, M and G are powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub(super) max_filesize: Option<u64>,
    /// Print one JSON object per request on standard output; bodies are discarded without -o
    #[arg(long, conflicts_with = "include")]
    pub(super) json: bool,
    /// Print this after each transfer, such as '%{http_code} %{size_download} %{time_total} %{url_effective}\n'
    #[arg(short = 'w', long, value_name = "FORMAT")]
    pub(super) write_out: Option<String>,
    /// Show heads (> and <) and details of the connection (*) on standard error
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// No progress bar and no error messages
    #[arg(short = 's', long)]
    pub(super) silent: bool,
    /// Show errors even with -s
    #[arg(short = 'S', long)]
    pub(super) show_error: bool,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Accept any certificate: anyone on the path can read and change everything
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the authorities in this PEM file besides the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Trust the authorities in this directory (files with OpenSSL's hashed names) besides the system's
    #[arg(long, value_name = "DIR")]
    capath: Option<PathBuf>,
    /// Prove who we are with the certificate chain in this PEM file (mutual TLS)
    #[arg(short = 'E', long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of --cert, PEM, if it is in another file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Trust exactly the certificate with this SHA-256, in hex or base64; repeatable
    #[arg(long, value_name = "HASH")]
    cert_hash: Vec<String>,
    #[command(flatten)]
    known: KnownHosts,
    /// Connect to IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Connect to IPv6 addresses only
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Nothing: only HTTP/3 is spoken here
    #[arg(long, hide = true)]
    http3: bool,
    /// Nothing: only HTTP/3 is spoken here
    #[arg(long, hide = true)]
    http3_only: bool,
    /// Not supported: HTTP/3 does not go through a proxy
    #[arg(short = 'x', long, value_name = "URL", hide = true)]
    proxy: Option<String>,
    /// Time limit for each transfer, in seconds
    #[arg(short = 'm', long, value_name = "SECONDS", value_parser = crate::cli::seconds)]
    pub(super) max_time: Option<Duration>,
    /// Time limit for connecting, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = crate::cli::seconds)]
    connect_timeout: Duration,
    /// Maximum bytes per second in each direction; k, M and G are powers of 1024
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) limit_rate: Option<u64>,
    /// Use the alternative services that servers announce (RFC 7838), and store them in this file in curl's format;
    /// '' keeps them in memory only
    #[arg(long, value_name = "FILE", value_parser = |text: &str| Ok::<_, String>(PathBuf::from(text)))]
    pub(super) alt_svc: Option<PathBuf>,
    /// Resume the TLS sessions in this file, and store new ones there
    #[arg(long, value_name = "FILE")]
    pub(super) resume_session: Option<PathBuf>,
    /// Send GET and HEAD in the first flight of a resumed session, which an attacker can replay
    #[arg(long = "0rtt", requires = "resume_session")]
    early_data: bool,
    /// Move to another port after the first bytes of the response
    #[arg(long)]
    pub(super) migrate: bool,
    /// Write one qlog file per connection here
    #[cfg(feature = "qlog")]
    #[arg(long, value_name = "DIR", env = "QLOGDIR")]
    qlog_dir: Option<PathBuf>,
    /// Append TLS secrets to this file, for decrypting packet captures
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylog: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Several URLs")]
pub(super) struct RunArgs {
    /// Run all transfers at the same time, on as few connections as possible
    #[arg(short = 'Z', long)]
    pub(super) parallel: bool,
    /// With -Z, run at most N transfers at a time
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(super) parallel_max: usize,
}

/// The output of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Nowhere,
    Stdout,
    File(PathBuf),
}

/// One requested transfer.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) url: String,
    pub(super) target: Target,
}

/// The parts of a request that do not depend on its URL.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) method: Method,
    /// `-X` was given: redirects do not change the method.
    pub(super) is_method_forced: bool,
    pub(super) body: Option<Body>,
    /// Fields of options such as `-u`, which those of `-H` replace; `None` leaves one out.
    own: Vec<(HeaderName, Option<HeaderValue>)>,
    fields: Vec<Field>,
}

#[derive(Debug)]
enum Field {
    Set(HeaderName, HeaderValue),
    Without(HeaderName),
}

impl Template {
    /// The request for a URL. Without `credentials`, fields meant for the first host only are omitted.
    pub(super) fn request(
        &self,
        method: &Method,
        url: &str,
        body: Option<&Body>,
        credentials: bool,
    ) -> Result<ClientRequest, Problem> {
        let mut request = ClientRequest::new(method.clone(), url).map_err(|e| Problem::of(&e, url))?;
        request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(body) = body {
            request = request.streamed_body(body.length());
            if body.is_form() {
                request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            }
        }
        for (name, value) in self.own.iter().filter(|(name, _)| credentials || !is_credential(name)) {
            request = match value {
                Some(value) => request.header(name.clone(), value.clone()),
                None => request.without_header(name),
            };
        }
        let mut seen = HeaderMap::new();
        for field in &self.fields {
            request = match field {
                Field::Set(name, _) if !credentials && (is_credential(name) || *name == HOST) => continue,
                Field::Without(name) => request.without_header(name),
                Field::Set(name, value) if seen.contains_key(name) => {
                    request.append_header(name.clone(), value.clone())
                }
                Field::Set(name, value) => {
                    seen.insert(name, HeaderValue::from_static(""));
                    request.header(name.clone(), value.clone())
                }
            };
        }
        Ok(request)
    }
}

fn is_credential(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == COOKIE
}

impl Args {
    pub(super) fn jobs(&self) -> Result<Vec<Job>, Problem> {
        let mut jobs = Vec::new();
        let query = self.request.data.query()?;
        for (n, url) in self.urls.iter().enumerate() {
            let mut url = complete(url);
            if let Some(query) = &query {
                url = with_query(&url, query)?;
            }
            if let Some(file) = self.request.upload_file.as_deref().filter(|file| url.ends_with('/') && !is_stdin(file))
            {
                url.push_str(&file.file_name().unwrap_or_default().to_string_lossy());
            }
            let target = match self.output.outputs.get(n) {
                Some(file) if file.as_os_str() == "-" => Target::Stdout,
                Some(file) => Target::File(file.clone()),
                None if self.output.remote_name => Target::File(remote_name(&url)?),
                None if self.output.json => Target::Nowhere,
                None => Target::Stdout,
            };
            jobs.extend(std::iter::repeat_n(Job { url, target }, self.request.repeat));
        }
        if self.output.outputs.len() > self.urls.len() {
            let message = format!("{} -o for {} URLs: one for each", self.output.outputs.len(), self.urls.len());
            return Err(Problem::new(USAGE, message));
        }
        if self.output.json && jobs.iter().any(|job| job.target == Target::Stdout) {
            return Err(Problem::new(USAGE, "--json and -o - both want standard output (give a file to -o)"));
        }
        Ok(jobs)
    }

    pub(super) fn template(&self, jobs: usize) -> Result<Template, Problem> {
        let request = &self.request;
        let body = self.body()?;
        if jobs > 1 && body.as_ref().is_some_and(Body::is_stdin) {
            return Err(Problem::new(USAGE, "standard input can be sent only once, but there are several requests"));
        }
        let method = match &request.method {
            Some(name) => Method::from_bytes(name.as_bytes()).map_err(|_| {
                Problem::new(USAGE, format!("'{name}' is not a method (-X takes a word such as DELETE)"))
            })?,
            None if request.head => Method::HEAD,
            None if request.upload_file.is_some() => Method::PUT,
            None if body.is_some() => Method::POST,
            None => Method::GET,
        };
        let fields = request.headers.iter().map(|text| field(text)).collect::<Result<_, _>>()?;
        Ok(Template { method, is_method_forced: request.method.is_some(), body, own: self.own_fields()?, fields })
    }

    /// The fields of options of their own.
    fn own_fields(&self) -> Result<Vec<(HeaderName, Option<HeaderValue>)>, Problem> {
        let request = &self.request;
        let mut fields = Vec::new();
        if let Some(user) = &request.user {
            let missing = || Problem::new(USAGE, format!("-u '{user}': without a password (use NAME:PASSWORD)"));
            user.contains(':').then_some(()).ok_or_else(missing)?;
            let value = format!("Basic {}", data_encoding::BASE64.encode(user.as_bytes()));
            fields.push((AUTHORIZATION, Some(value)));
        }
        let agent = request.user_agent.as_ref();
        fields.extend(agent.map(|text| (USER_AGENT, (!text.is_empty()).then(|| text.clone()))));
        fields.extend(request.referer.as_ref().map(|text| (REFERER, Some(text.clone()))));
        fields.extend(request.range.as_ref().map(|text| (RANGE, Some(format!("bytes={text}")))));
        let valid = |(name, text): (HeaderName, Option<String>)| {
            let value = text.as_deref().map(HeaderValue::from_str).transpose();
            let wrong = |_| Problem::new(USAGE, format!("'{}' cannot be sent as {name}", text.unwrap_or_default()));
            Ok((name.clone(), value.map_err(wrong)?))
        };
        fields.into_iter().map(valid).collect()
    }

    fn body(&self) -> Result<Option<Body>, Problem> {
        let request = &self.request;
        if let Some(file) = &request.upload_file {
            let part = if is_stdin(file) { Part::Stdin { strip: false } } else { Part::file(file, false)? };
            return Ok(Some(Body::upload(part)));
        }
        let body = request.data.body()?;
        if body.is_some() && request.head {
            return Err(Problem::new(
                USAGE,
                "-I sends no body: use -X HEAD with -d, or -G to put the data in the query",
            ));
        }
        Ok(body)
    }

    pub(super) fn config(&self) -> Result<ClientConfig, Problem> {
        let connection = &self.connection;
        let mut config = ClientConfig::default();
        if let Some(file) = &connection.cacert {
            let wrong = |what: &str| {
                let message =
                    format!("cannot use the CA file '{}': {what} (--cacert wants a PEM file)", file.display());
                Problem::new(CA_FILE, message)
            };
            let text = std::fs::read(file).map_err(|e| wrong(&e.to_string()))?;
            if !text.windows(17).any(|window| window == b"BEGIN CERTIFICATE") {
                return Err(wrong("it holds no certificate"));
            }
        }
        if let Some(dir) = &connection.capath
            && let Err(e) = std::fs::read_dir(dir)
        {
            return Err(Problem::new(
                CA_FILE,
                format!("cannot use the CA directory '{}': {e} (--capath)", dir.display()),
            ));
        }
        if let Some(proxy) = &connection.proxy {
            let message = format!("-x '{proxy}': HTTP/3 goes over UDP, which HTTP proxies do not carry (leave it out)");
            return Err(Problem::new(PROXY, message));
        }
        let only = match (connection.ipv4, connection.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        };
        config.resolver = connection.known.resolver(only);
        config.alt_svc = connection.alt_svc.is_some();
        (config.ca_file, config.ca_dir) = (connection.cacert.clone(), connection.capath.clone());
        if let Some(cert) = &connection.cert {
            let key = connection.key.as_ref().unwrap_or(cert);
            let wrong = |e| Problem::new(CLIENT_CERTIFICATE, format!("{e} (--cert, --key)"));
            let certificate = Certificate::from_files(cert, key);
            certificate.check().map_err(wrong)?;
            config.certificate = Some(certificate);
        }
        config.cert_hashes = connection.cert_hash.iter().map(|text| hash(text)).collect::<Result<_, _>>()?;
        if connection.insecure {
            config.dangerous().accept_any_certificate();
        }
        config.connect_timeout = connection.connect_timeout;
        config.transport.early_data = connection.early_data;
        config.webtransport.enabled = false;
        config.handle_signals = true;
        config.transport.keylog = connection.keylog.clone();
        #[cfg(feature = "qlog")]
        {
            config.transport.qlog_dir = connection.qlog_dir.clone();
        }
        Ok(config)
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A URL without a scheme is an `https` one.
fn complete(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("https://{url}") }
}

/// The URL with more in its query.
fn with_query(url: &str, more: &str) -> Result<String, Problem> {
    let mut parsed = url::Url::parse(url).map_err(|e| Problem::new(URL, format!("URL '{url}': {e}")))?;
    let query = match parsed.query() {
        Some(query) if !query.is_empty() => format!("{query}&{more}"),
        _ => more.to_owned(),
    };
    parsed.set_query(Some(&query));
    Ok(parsed.into())
}

fn remote_name(url: &str) -> Result<PathBuf, Problem> {
    let parsed = url::Url::parse(url).map_err(|e| Problem::new(URL, format!("URL '{url}': {e}")))?;
    match parsed.path().rsplit('/').next().filter(|name| !name.is_empty()) {
        Some(name) => Ok(PathBuf::from(OsString::from(name))),
        None => {
            Err(Problem::new(WRITE, format!("URL '{url}' does not end in a file name (use -o FILE instead of -O)")))
        }
    }
}

fn field(text: &str) -> Result<Field, Problem> {
    let wrong = || Problem::new(USAGE, format!("-H '{text}': not of the form 'Name: value' ('Name:' leaves one out)"));
    let name = |name: &str| HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong());
    if let Some((field, value)) = text.split_once(':') {
        return Ok(match value.trim() {
            "" => Field::Without(name(field)?),
            value => Field::Set(name(field)?, HeaderValue::from_str(value).map_err(|_| wrong())?),
        });
    }
    let field = text.strip_suffix(';').ok_or_else(wrong)?;
    Ok(Field::Set(name(field)?, HeaderValue::from_static("")))
}

/// A SHA-256 in hex, with or without colons, or in base64.
fn hash(text: &str) -> Result<[u8; 32], Problem> {
    let hex = data_encoding::HEXLOWER_PERMISSIVE.decode(text.replace(':', "").as_bytes());
    let bytes = hex.ok().filter(|hash| hash.len() == 32);
    let bytes = bytes.or_else(|| data_encoding::BASE64.decode(text.as_bytes()).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let message =
            format!("--cert-hash '{text}': not a SHA-256 in hex or base64 (see mio-quiche cert --print-hash)");
        Problem::new(USAGE, message)
    })
}
