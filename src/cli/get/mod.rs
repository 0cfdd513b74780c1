//! `mio-quiche get`.

mod active;
mod address;
mod alt_svc;
mod args;
mod body;
mod config_file;
mod cookies;
mod data;
mod decode;
mod disposition;
mod failure;
mod form;
mod glob;
mod jobs;
mod output;
mod rate;
mod replace;
mod report;
mod retry;
mod sessions;
mod settings;
mod show;
mod template;
mod transfer;
mod write_out;

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::RANGE;
use http::{HeaderValue, Method};
use mio_quiche::app::RequestId;
use mio_quiche::{Client, ConnId, Error, MigrateError, net};
use url::Url;

use active::{Active, Facts, Link};
use address::{host, source};
use alt_svc::AltServiceFile;
pub(super) use args::Args;
use args::Resume;
use cookies::Cookies;
pub(super) use failure::EXIT_CODES;
use failure::{INTERRUPTED, Problem, REDIRECTS, REWIND, WRITE};
use jobs::Job;
use output::{Output, Stdout, Target};
use report::{Console, TICK};
use retry::{Next, Try};
use sessions::Sessions;
use template::Template;
use transfer::{Options, Transfer, request_text, show_request};
pub(super) use write_out::HELP as VARIABLES;
use write_out::Sink;

use super::notify::Notifier;
use super::remote::Lookups;

/// As curl.
const MAX_REDIRECTS: usize = 50;

struct Run {
    args: Args,
    template: Template,
    options: Options,
    client: Client,
    console: Console,
    stdout: Stdout,
    /// Of `-D`.
    heads: Option<Rc<RefCell<Output>>>,
    /// Input came, or output went.
    notifier: Notifier,
    queue: VecDeque<Job>,
    active: Vec<Active>,
    /// Transfers that are tried again, and when.
    paused: Vec<(Instant, Active)>,
    sessions: Option<Sessions>,
    cookies: Option<Cookies>,
    alternatives: Option<AltServiceFile>,
    /// Origins that requests were sent to.
    origins: Vec<String>,
    shown: HashSet<ConnId>,
    /// The connections so far.
    links: HashMap<ConnId, Rc<Link>>,
    lookups: Lookups,
    /// The format of `-w`.
    write_out: Option<String>,
    /// The reader of standard output is gone, and that was reported.
    is_stdout_gone: bool,
    /// Bytes of finished transfers, for the overall progress bar.
    done: u64,
    exit_code: u8,
}

/// All arguments, those of the command line and before them those of `-K`. `None` if there is no `-K`; the exit code if
/// a file cannot be used.
pub(super) fn with_config(
    args: &Args,
    given: impl Iterator<Item = OsString>,
) -> Result<Option<Vec<OsString>>, ExitCode> {
    if args.config.is_empty() {
        return Ok(None);
    }
    let mut given: Vec<OsString> = given.collect();
    let mut more = Vec::new();
    for file in &args.config {
        more.extend(config_file::read(file).map_err(|problem| {
            Console::new(false, true).error(&problem.message);
            ExitCode::from(problem.code)
        })?);
    }
    // Behind the names of the program and of the command.
    let at = given.len().min(2);
    given.splice(at..at, more);
    Ok(Some(given))
}

pub(super) fn run(args: Args) -> ExitCode {
    let errors = !args.output.silent || args.output.show_error;
    let problem = match Run::new(args) {
        Ok(mut run) => match run.run() {
            Ok(code) => return ExitCode::from(code),
            Err(problem) => problem,
        },
        Err(problem) => problem,
    };
    Console::new(false, errors).error(&problem.message);
    ExitCode::from(problem.code)
}

impl Run {
    fn new(args: Args) -> Result<Self, Problem> {
        let queue: VecDeque<Job> = args.jobs()?.into();
        let template = args.template(queue.len())?;
        let write_out = args.output.write_out.as_deref().map(write_out::format).transpose()?;
        let lookups = Lookups::default();
        let mut client = Client::new(args.config(&lookups)?)?;
        let sessions = args.connection.resume_session.as_deref().map(Sessions::read).transpose()?;
        if let Some(sessions) = &sessions {
            sessions.give_to(&mut client);
        }
        let mut alternatives = args.connection.alt_svc.as_deref().map(AltServiceFile::read).transpose()?;
        if let Some(alternatives) = &mut alternatives {
            alternatives.give_to(&mut client);
        }
        let (given, jar) = (&args.request.cookie, args.request.cookie_jar.as_deref());
        let cookies = Cookies::read(given, jar, args.request.junk_session_cookies)?;
        let notifier = Notifier::new(client.waker());
        let stdout = Stdout::start(notifier.clone());
        let heads = args.output.dump_header.as_ref().map(|file| {
            let target = if file.as_os_str() == "-" { Target::Stdout } else { Target::File(file.clone()) };
            Rc::new(RefCell::new(Output::new(&target, &stdout, args.output.create_dirs, false)))
        });
        let (request, output) = (&args.request, &args.output);
        let to_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        let shows_body = to_terminal && queue.iter().any(|job| job.target == Target::Stdout);
        let with_bar = !(output.silent || output.report || output.verbose || request.head || shows_body);
        Ok(Run {
            options: Options {
                heads: output.include || request.head && !output.report,
                fail: output.fail || output.fail_with_body,
                fail_with_body: output.fail_with_body,
                max_filesize: output.max_filesize.filter(|max| *max > 0),
                follow: request.location,
                verbose: output.verbose,
                limit_rate: args.connection.limit_rate.filter(|rate| *rate > 0),
                resume_from: 0,
                compressed: output.compressed,
                remote_header_name: output.remote_header_name,
            },
            console: Console::new(with_bar, !output.silent || output.show_error),
            heads,
            stdout,
            notifier,
            template,
            client,
            queue,
            active: Vec::new(),
            paused: Vec::new(),
            sessions,
            cookies,
            alternatives,
            origins: Vec::new(),
            shown: HashSet::new(),
            links: HashMap::new(),
            lookups,
            write_out,
            is_stdout_gone: false,
            done: 0,
            exit_code: 0,
            args,
        })
    }

    fn run(&mut self) -> Result<u8, Problem> {
        let at_a_time = if self.args.run.parallel { self.args.run.parallel_max.max(1) } else { 1 };
        loop {
            self.go_on();
            while self.active.len() + self.paused.len() < at_a_time
                && let Some(job) = self.queue.pop_front()
            {
                // Nobody reads what it would print.
                if job.target.is_stdout() && self.stdout.check().is_err() {
                    continue;
                }
                self.begin(job);
            }
            let is_over = self.active.is_empty() && self.paused.is_empty() && self.queue.is_empty();
            if is_over || self.active.is_empty() && self.client.signals() > 0 {
                break;
            }
            let tick = self.console.has_bar().then(|| net::now() + TICK);
            self.client.turn(self.paused.iter().map(|(at, _)| *at).chain(tick).min())?;
            if self.client.signals() > 0 {
                return Ok(self.interrupt());
            }
            self.after_turn();
        }
        if let Some(mut sessions) = self.sessions.take()
            && let Err(problem) = sessions.save(&mut self.client, &self.origins)
        {
            self.failed(&problem);
        }
        if let Some(cookies) = &self.cookies
            && let Err(problem) = cookies.save(&self.stdout)
        {
            // As curl: the transfers were not affected.
            self.console.error(&problem.message);
        }
        if let Some(alternatives) = &self.alternatives
            && let Err(problem) = alternatives.save(&self.client)
        {
            self.failed(&problem);
        }
        self.client.close();
        while !self.stdout.is_flushed() {
            self.client.turn(None)?;
            if self.client.signals() > 0 {
                return Ok(self.interrupt());
            }
        }
        if let Err(problem) = self.stdout.check()
            && self.exit_code == 0
        {
            self.failed(&problem);
        }
        Ok(self.exit_code)
    }

    /// Cancels the running transfers.
    fn interrupt(&mut self) -> u8 {
        self.console.end_bar();
        for active in &self.active {
            self.client.cancel(active.id);
        }
        // This only sends the rest; its success no longer matters.
        let _ = self.client.turn(Some(net::now()));
        self.client.close();
        INTERRUPTED
    }

    fn failed(&mut self, problem: &Problem) {
        self.console.error(&problem.message);
        self.exit_code = problem.code;
    }

    fn begin(&mut self, job: Job) {
        let resume_from = self.resume_from(&job);
        let output = Output::new(&job.target, &self.stdout, self.args.output.create_dirs, resume_from > 0);
        let output = Rc::new(RefCell::new(output));
        let (method, has_body) = (self.template.method.clone(), self.template.body.is_some());
        let now = net::now();
        let mut active = Active {
            id: RequestId::default(),
            state: Rc::default(),
            output,
            started: now,
            began: now,
            retries: 0,
            pause: Duration::ZERO,
            resume_from,
            url: job.url.clone(),
            job,
            method,
            has_body,
            redirects: 0,
            head: String::new(),
            migrated: false,
            resumed: false,
            link: None,
            connects: 0,
            redirected: Duration::ZERO,
            head_size: 0,
            request_size: 0,
            header_size: 0,
        };
        match self.start(&mut active) {
            Ok(()) => self.active.push(active),
            Err(problem) => self.report(&active, Some(&problem)),
        }
    }

    /// Bytes that need not come (`-C`).
    fn resume_from(&self, job: &Job) -> u64 {
        match (self.args.request.continue_at, &job.target) {
            (Some(Resume::At(offset)), _) => offset,
            (Some(Resume::FileSize), Target::File(path)) => std::fs::metadata(path).map_or(0, |file| file.len()),
            _ => 0,
        }
    }

    /// Starts the transfers whose pause is over.
    fn go_on(&mut self) {
        let now = net::now();
        for (at, mut active) in std::mem::take(&mut self.paused) {
            if at > now {
                self.paused.push((at, active));
                continue;
            }
            match self.start(&mut active) {
                Ok(()) => self.active.push(active),
                Err(problem) => self.report(&active, Some(&problem)),
            }
        }
    }

    /// Prepares another try of a transfer, unless it is to end. Returns it then.
    fn retry(&mut self, mut active: Active, problem: Option<&Problem>) -> Option<Active> {
        let now = net::now();
        let next = {
            let state = active.state.borrow();
            self.args.retry.next(&Try {
                exit_code: problem.map_or(0, |problem| problem.code),
                status: state.status,
                fields: &state.fields,
                retries: active.retries,
                pause: active.pause,
                elapsed: now.saturating_duration_since(active.began),
                wall: net::wall_clock(),
            })
        };
        let (wait, pause) = match next {
            Next::After { wait, pause } => (wait, pause),
            Next::Give => return Some(active),
            Next::TooLong => {
                self.console.error("the server asks to be tried again later than --retry-max-time allows");
                return Some(active);
            }
        };
        if self.template.body.as_ref().is_some_and(body::Body::is_stdin) {
            self.console.error("no further try: standard input can be read only once");
            return Some(active);
        }
        if self.args.request.continue_at == Some(Resume::FileSize) {
            // The next try continues behind what has come.
            active.resume_from = self.resume_from(&active.job);
        } else if let Err(problem) = active.output.borrow_mut().restart() {
            self.console.error(&problem.message);
        }
        let status = active.state.borrow().status.map(|status| format!("{}: status {status}", active.url));
        let why = problem.map(|problem| problem.message.clone()).or(status).unwrap_or_default();
        let left = self.args.retry.retry.saturating_sub(active.retries + 1);
        self.console.error(&format!("{why} (trying again in {:.1} s; {left} more after that)", wait.as_secs_f64()));
        active.retries += 1;
        active.pause = pause;
        active.started = now + wait;
        active.url.clone_from(&active.job.url);
        active.method = self.template.method.clone();
        active.has_body = self.template.body.is_some();
        (active.redirects, active.connects, active.redirected) = (0, 0, Duration::ZERO);
        (active.request_size, active.header_size) = (0, 0);
        active.state = Rc::default();
        self.paused.push((now + wait, active));
        None
    }

    /// Sends the request for the transfer's current URL.
    fn start(&mut self, active: &mut Active) -> Result<(), Problem> {
        let credentials = active.redirects == 0 || host(&active.url) == host(&active.job.url);
        let body = self.template.body.as_ref().filter(|_| active.has_body);
        let mut request = self.template.request(&active.method, &active.url, body, credentials)?;
        if let Some(cookies) = &self.cookies {
            request = cookies.add_to(request, &active.url, credentials);
        }
        if active.resume_from > 0 && body.is_none() {
            request = request.header(RANGE, range(active.resume_from));
        }
        if let Some(max) = self.args.connection.max_time.filter(|max| !max.is_zero()) {
            request = request.timeout(max.saturating_sub(net::now() - active.started));
        }
        if let Some(origin) = host(&active.url)
            && !self.origins.contains(&origin)
        {
            self.origins.push(origin);
        }
        active.head = show_request(request.head());
        active.head_size = request_text(request.head()).len() as u64;
        let source = body.map(|body| body.open(&self.notifier));
        let (state, output) = (Rc::clone(&active.state), Rc::clone(&active.output));
        let transfer = Transfer::new(
            Options { resume_from: active.resume_from, ..self.options },
            state,
            output,
            self.heads.clone(),
            source,
        );
        active.id = self.client.start(request, transfer);
        Ok(())
    }

    fn after_turn(&mut self) {
        let notified = self.notifier.take();
        for mut active in std::mem::take(&mut self.active) {
            let shown = self.show_notes(&active);
            if active.state.borrow().waits && (notified || shown) {
                self.client.wake(active.id);
            }
            self.note_connection(&mut active);
            if self.args.connection.migrate && !active.migrated && active.state.borrow().received > 0 {
                active.migrated = self.migrate();
            }
            if active.state.borrow().result.is_none() {
                self.active.push(active);
            } else {
                self.end(active);
            }
        }
        self.show_progress();
    }

    /// Facts known only after the handshake.
    fn note_connection(&mut self, active: &mut Active) {
        let conn = active.state.borrow().stream.map(|stream| stream.conn);
        let local = self.client.local_addr();
        let endpoint = self.client.endpoint();
        let Some((conn, peer)) = conn.and_then(|conn| Some((conn, endpoint.peer_addr(conn)?))) else { return };
        let number = self.links.len();
        let known = self.links.entry(conn);
        if matches!(known, Entry::Vacant(_)) {
            active.connects += 1;
        }
        let link = known.or_insert_with(|| {
            let certificate = endpoint.peer_certificate(conn).map(<[u8]>::to_vec);
            Rc::new(Link { number, local: source(local, peer), peer, certificate })
        });
        active.link = Some(Rc::clone(link));
        if !endpoint.is_early(conn) {
            active.resumed = endpoint.is_resumed(conn);
            active.state.borrow_mut().early &= endpoint.is_early_accepted(conn);
        }
    }

    /// Returns false to try again.
    fn migrate(&mut self) -> bool {
        let before = self.client.local_addr().port();
        let note = match self.client.migrate() {
            Ok(()) => format!("* moved from port {before} to {}\n", self.client.local_addr().port()),
            Err(Error::Migrate(MigrateError::NoConnectionId)) => return false,
            Err(e) => format!("* cannot move to another port: {e}\n"),
        };
        if self.options.verbose {
            self.console.show(&note);
        }
        true
    }

    /// A response has ended, completely or not.
    fn end(&mut self, mut active: Active) {
        let (result, problem, redirect) = {
            let mut state = active.state.borrow_mut();
            (state.result.take(), state.problem.take(), state.redirect.take())
        };
        if let Some(cookies) = &mut self.cookies {
            cookies.learn(&active.url, &active.state.borrow().fields);
        }
        let problem = match (problem, result) {
            (Some(problem), _) => {
                let message = format!("{}: {}", active.url, problem.message);
                Some(Problem { message, ..problem })
            }
            (None, Some(Err(error))) => Some(Problem::of(&error, &active.url)),
            (None, _) => None,
        };
        let problem = match (problem, redirect) {
            (None, Some(location)) => match self.follow(&mut active, &location) {
                Ok(()) => {
                    self.active.push(active);
                    return;
                }
                Err(problem) => Some(problem),
            },
            (problem, _) => problem,
        };
        if self.args.connection.migrate && !active.migrated && self.options.verbose {
            self.console.show("* did not move to another port: the server issued no connection id for that\n");
        }
        if let Some(active) = self.retry(active, problem.as_ref()) {
            self.report(&active, problem.as_ref());
        }
    }

    fn follow(&mut self, active: &mut Active, location: &str) -> Result<(), Problem> {
        active.redirects += 1;
        if active.redirects > MAX_REDIRECTS {
            let message = format!("{}: more than {MAX_REDIRECTS} redirects", active.job.url);
            return Err(Problem::new(REDIRECTS, message));
        }
        let wrong = |e| Problem::new(failure::URL, format!("{}: redirected to '{location}': {e}", active.url));
        active.url = Url::parse(&active.url).and_then(|url| url.join(location)).map_err(wrong)?.to_string();
        let status = active.state.borrow().status;
        let becomes_get = match status {
            Some(303) => active.method != Method::HEAD,
            Some(301 | 302) => active.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            active.has_body = false;
            if !self.template.is_method_forced {
                active.method = Method::GET;
            }
        }
        if active.has_body && self.template.body.as_ref().is_some_and(body::Body::is_stdin) {
            let message = format!("{}: needs the body again, but standard input can be read only once", active.url);
            return Err(Problem::new(REWIND, message));
        }
        active.request_size += active.head_size;
        active.header_size += active.state.borrow().header_size;
        active.redirected = net::now().saturating_duration_since(active.started);
        active.state = Rc::default();
        self.start(active)
    }

    /// A transfer has ended.
    fn report(&mut self, active: &Active, problem: Option<&Problem>) {
        let state = active.state.borrow();
        self.done += state.received;
        if !self.args.run.parallel || self.active.is_empty() && self.queue.is_empty() {
            let (done, message) = match (self.args.run.parallel, state.sent > state.received) {
                (true, _) => (self.done, ""),
                (false, true) => (state.sent, "up "),
                (false, false) => (state.received, ""),
            };
            if problem.is_none() && done > 0 {
                self.console.progress(done, Some(done), message);
            }
            self.console.end_bar();
        }
        let now = net::now();
        drop(state);
        let looked_up = host(&active.url).and_then(|host| self.lookups.at(&host));
        let mut facts = active.facts(problem, now, looked_up);
        facts.referer.clone_from(&self.args.request.referer);
        let mut written = Ok(());
        if self.args.output.report {
            written = self.stdout.write((report::json(&facts) + "\n").into());
        }
        written = written.and_then(|()| self.write_out(&facts));
        let Some(problem) = problem.or(written.as_ref().err()) else { return };
        // Not once more for every transfer that printed, too.
        let is_gone = problem.code == WRITE && self.stdout.check().is_err();
        if is_gone && self.is_stdout_gone {
            self.exit_code = problem.code;
        } else {
            self.failed(problem);
        }
        self.is_stdout_gone |= is_gone;
    }

    /// `-w`.
    fn write_out(&mut self, facts: &Facts) -> Result<(), Problem> {
        let Some(format) = &self.write_out else { return Ok(()) };
        let (pieces, unknown) = write_out::write_out(format, facts);
        for name in unknown {
            self.console.error(&format!("-w: there is no variable '{name}' (see --help)"));
        }
        for (sink, text) in pieces {
            match sink {
                Sink::Stdout if text.is_empty() => {}
                Sink::Stdout => self.stdout.write(text.into())?,
                Sink::Stderr => self.console.show(&text),
                Sink::File { path, append } => Sink::write_file(&path, append, &text)?,
            }
        }
        Ok(())
    }
}

/// The field for everything from an offset on.
fn range(from: u64) -> HeaderValue {
    let value = HeaderValue::try_from(format!("bytes={from}-"));
    value.unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}
