//! The requests that the arguments ask for.

use std::io::{self, IsTerminal};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, RANGE, REFERER,
    USER_AGENT,
};
use http::{HeaderMap, Method};
use mio_quiche::ClientRequest;

use super::args::{Args, is_stdin};
use super::body::{Body, Kind, Part};
use super::decode::ACCEPTED;
use super::failure::{Problem, READ, USAGE};
use crate::cli::input;

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
            let content_type = match body.kind() {
                Kind::Upload => None,
                Kind::Form => Some(HeaderValue::from_static("application/x-www-form-urlencoded")),
                Kind::Json => Some(HeaderValue::from_static("application/json")),
                Kind::Multipart { boundary } => {
                    HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}")).ok()
                }
            };
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            if *body.kind() == Kind::Json {
                request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
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
        let fields = fields(&request.headers)?;
        Ok(Template { method, is_method_forced: request.method.is_some(), body, own: self.own_fields()?, fields })
    }

    /// The fields of options of their own.
    fn own_fields(&self) -> Result<Vec<(HeaderName, Option<HeaderValue>)>, Problem> {
        let request = &self.request;
        let mut fields = Vec::new();
        if let Some(user) = &request.user {
            let value = format!("Basic {}", data_encoding::BASE64.encode(credentials(user)?.as_bytes()));
            fields.push((AUTHORIZATION, Some(value)));
        }
        let agent = request.user_agent.as_ref();
        fields.extend(agent.map(|text| (USER_AGENT, (!text.is_empty()).then(|| text.clone()))));
        fields.extend(request.referer.as_ref().map(|text| (REFERER, Some(text.clone()))));
        fields.extend(request.range.as_ref().map(|text| (RANGE, Some(format!("bytes={text}")))));
        let accepted = || Some(ACCEPTED.to_owned());
        fields.extend(self.output.compressed.then(|| (ACCEPT_ENCODING, accepted())));
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
            return Ok(Some(Body::new(vec![part], Kind::Upload)));
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
}

/// The name and the password of `-u`. A password that is missing is asked for on the terminal.
fn credentials(user: &str) -> Result<String, Problem> {
    if user.contains(':') {
        return Ok(user.to_owned());
    }
    let missing = || Problem::new(USAGE, format!("-u '{user}': without a password (use NAME:PASSWORD)"));
    if !io::stderr().is_terminal() {
        return Err(missing());
    }
    let asked = rpassword::prompt_password(format!("Enter host password for user '{user}':"));
    asked.map(|password| format!("{user}:{password}")).map_err(|_| missing())
}

/// The fields of `-H`, and of its files, in order.
fn fields(given: &[String]) -> Result<Vec<Field>, Problem> {
    let mut fields = Vec::new();
    for text in given {
        let Some(file) = text.strip_prefix('@') else {
            fields.push(field(text)?);
            continue;
        };
        let failed = |e| Problem::new(READ, format!("cannot read '{file}': {e} (-H)"));
        let lines = input::read_or_stdin(file.as_ref()).map_err(failed)?;
        let lines = String::from_utf8_lossy(&lines);
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        fields.extend(lines.map(field).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(fields)
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
