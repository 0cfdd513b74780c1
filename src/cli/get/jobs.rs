//! The transfers that the arguments ask for.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{Args, is_stdin};
use super::failure::{Problem, URL, USAGE, WRITE};
use super::glob::{self, Expanded};
use super::output::Target;

/// One requested transfer.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The URL as it was given.
    pub(super) given: String,
    /// The number of the URL, and of the transfer, from 0.
    pub(super) number: usize,
    pub(super) id: u64,
    pub(super) url: String,
    pub(super) target: Target,
}

impl Args {
    pub(super) fn jobs(&self) -> Result<Vec<Job>, Problem> {
        let mut jobs = Vec::new();
        let query = self.request.data.query()?;
        let urls: Vec<&String> = self.urls.iter().chain(&self.url).collect();
        if urls.is_empty() {
            return Err(Problem::new(USAGE, "no URL is given"));
        }
        for (number, given) in urls.iter().enumerate() {
            let expanded = match self.globoff {
                true => vec![Expanded { url: (*given).clone(), values: Vec::new() }],
                false => glob::expand(given)?,
            };
            for Expanded { url: given, values } in expanded {
                let (url, target) = self.job(number, &given, &values, query.as_deref())?;
                for _ in 0..self.request.repeat {
                    let id = jobs.len() as u64;
                    jobs.push(Job { given: given.clone(), number, id, url: url.clone(), target: target.clone() });
                }
            }
        }
        if self.output.outputs.len() > urls.len() {
            let message = format!("{} -o for {} URLs: one for each", self.output.outputs.len(), urls.len());
            return Err(Problem::new(USAGE, message));
        }
        if self.output.report && jobs.iter().any(|job| job.target == Target::Stdout) {
            return Err(Problem::new(USAGE, "--report and -o - both want standard output (give a file to -o)"));
        }
        Ok(jobs)
    }

    /// The URL to request, and the output. `values`: of the patterns in the URL.
    fn job(
        &self,
        number: usize,
        given: &str,
        values: &[String],
        query: Option<&str>,
    ) -> Result<(String, Target), Problem> {
        let mut url = complete(given);
        if let Some(query) = query {
            url = with_query(&url, query)?;
        }
        if let Some(file) = self.request.upload_file.as_deref().filter(|file| url.ends_with('/') && !is_stdin(file)) {
            url.push_str(&file.file_name().unwrap_or_default().to_string_lossy());
        }
        let target = match self.output.outputs.get(number) {
            Some(file) if file.as_os_str() == "-" => Target::Stdout,
            Some(file) => match file.to_str() {
                Some(name) => Target::File(glob::fill(name, values).into()),
                None => Target::File(file.clone()),
            },
            None if self.output.remote_name => Target::File(remote_name(&url)?),
            None if self.output.report => Target::Nowhere,
            None => Target::Stdout,
        };
        Ok((url, target))
    }
}

/// A URL without a scheme is an `https` one. As in curl, a word before `:/` is a scheme.
fn complete(url: &str) -> String {
    let is_scheme = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    match url.split_once(":/") {
        Some((word, _)) if is_scheme(word) => url.to_owned(),
        _ => format!("https://{url}"),
    }
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
