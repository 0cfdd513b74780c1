//! `mio-quiche wt`.

mod content;
mod input;
mod output;
mod pump;
mod report;
mod state;
mod streams;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args as ClapArgs;
use mio_quiche::{
    Client, ClientError, EndedBy, ResponseHead, Result, Session, SessionEnd, SessionHandler, SessionOptions,
    StreamHandler, StreamId, net,
};

use super::notify::Notifier;
use super::remote::{self, Trust};
use super::{Failure, print, units};
use input::{Command, Input};
use output::{printable, show};
use pump::pump;
use state::{Plan, Shared, State};
use streams::FromPeer;

pub(super) const AFTER_HELP: &str = "\
Without counts, what is piped in goes out on one bidirectional stream, as with --stdin. With a terminal as standard input
(or with --interactive), each line typed goes out on a bidirectional stream of its own, and responses are shown as they
arrive; /help lists commands for the rest.

Lost datagrams are not a failure, unless all are lost.";

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// https://HOST[:PORT]/PATH; https:// may be omitted
    url: String,
    #[command(flatten)]
    trust: Trust,
    /// Send N datagrams and count their echoes
    #[arg(long, value_name = "N", default_value_t = 0)]
    datagrams: u64,
    /// Open N bidirectional streams and check their echo
    #[arg(long, value_name = "N", default_value_t = 0)]
    bidi: u64,
    /// Send N unidirectional streams and check the server's answers
    #[arg(long, value_name = "N", default_value_t = 0)]
    uni: u64,
    /// Bytes of each datagram and stream
    #[arg(long, value_name = "BYTES", default_value = "1000", value_parser = units::bytes)]
    size: u64,
    /// Send standard input on one bidirectional stream and print the echo, byte for byte
    #[arg(long, conflicts_with_all = ["json", "interactive"])]
    stdin: bool,
    /// Send typed lines even if standard input is not a terminal
    #[arg(long, conflicts_with = "json")]
    interactive: bool,
    /// Offer a subprotocol; repeatable
    #[arg(long, value_name = "NAME", value_parser = subprotocol)]
    subprotocol: Vec<String>,
    /// The origin to send [default: that of the URL]
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Stay open at least this long, for data that the server sends on its own; seconds, or with ms, s, m or h
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::duration)]
    wait: Duration,
    /// Close with this code and reason
    #[arg(long, value_name = "CODE:REASON", default_value = "0:", value_parser = input::close_of)]
    close: (u32, String),
    /// Wait for the server to close the session, and fail if it does not
    #[arg(long)]
    expect_close: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print only errors (and the echo of standard input)
    #[arg(short, long)]
    quiet: bool,
    /// Time limit, 0 for none [default: 30s; none for typed lines or standard input]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Write a qlog file here
    #[cfg(feature = "qlog")]
    #[arg(long, value_name = "DIR")]
    qlog_dir: Option<PathBuf>,
    #[cfg(feature = "qlog")]
    #[command(flatten)]
    qlog_limits: super::qlog::QlogLimits,
    /// Append TLS secrets to this file
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylog: Option<PathBuf>,
}

/// The default time limit.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the server to acknowledge the close.
const GOODBYE: Duration = Duration::from_secs(1);
/// Interval of checking for the acknowledgement.
const GOODBYE_STEP: Duration = Duration::from_millis(5);

/// What becomes of standard input that is not typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    None,
    /// Sent on a stream.
    Input,
    /// The same, unless it is empty.
    InputIfAny,
}

/// A string of structured fields (RFC 9651 section 3.3.3).
fn subprotocol(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Ok(text.to_owned()),
        false => Err("a subprotocol consists of one or more printable ASCII characters".to_owned()),
    }
}

struct Handler(Shared);

impl SessionHandler for Handler {
    fn response(&mut self, head: &ResponseHead) {
        let mut state = self.0.borrow_mut();
        if head.status.is_success() {
            state.opened = Some(net::now());
        }
        let chosen = head.headers.get("wt-protocol").and_then(|value| value.to_str().ok());
        state.subprotocol = chosen.map(|name| name.trim_matches('"').replace("\\\"", "\""));
    }

    fn failed(&mut self, error: &ClientError) {
        self.0.borrow_mut().failure = Some(error.into());
    }

    fn opened(&mut self, s: &mut Session<'_>) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.session = Some(s.id());
        (state.last, state.datagrams.last) = (s.now(), s.now());
        drop(state);
        pump(&self.0, s)
    }

    fn datagram(&mut self, s: &mut Session<'_>, payload: Bytes) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.last = s.now();
        if !state.on_datagram(s.now(), &payload) {
            if state.plan.shows {
                show(&format!("datagram: {}\n", printable(&payload)));
            }
            state.keep_datagram(&payload);
        }
        Ok(())
    }

    fn stream(&mut self, _s: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
        Ok(Some(Box::new(FromPeer::new(id.is_bidi(), self.0.clone()))))
    }

    fn streams_available(&mut self, s: &mut Session<'_>) -> Result<()> {
        self.0.borrow_mut().blocked = false;
        pump(&self.0, s)
    }

    fn closed(&mut self, _: StreamId, end: &SessionEnd) {
        self.0.borrow_mut().end = Some(end.clone());
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    remote::log_if_asked();
    let counts = args.datagrams > 0 || args.bidi > 0 || args.uni > 0;
    let waits = args.expect_close || !args.wait.is_zero();
    let typed = args.interactive
        || !(counts || waits || args.stdin || args.json || args.quiet) && std::io::stdin().is_terminal();
    let source = match args.stdin {
        true => Source::Input,
        false if !(counts || waits || typed || args.json) && input::is_piped() => Source::InputIfAny,
        false => Source::None,
    };
    let has_input = source != Source::None;
    let mut config = args.trust.config();
    config.handle_signals = true;
    let timeout =
        args.timeout.or((!typed && !has_input).then_some(TIMEOUT + args.wait)).filter(|limit| !limit.is_zero());
    config.connect_timeout = config.connect_timeout.min(timeout.unwrap_or(config.connect_timeout));
    config.transport.keylog = args.keylog.clone();
    #[cfg(feature = "qlog")]
    {
        config.transport.qlog_dir = args.qlog_dir.clone();
        config.transport.qlog_max = args.qlog_limits.max;
    }
    let mut options = SessionOptions::new(&remote::url(&args.url))?;
    for name in &args.subprotocol {
        options = options.subprotocol(name);
    }
    if let Some(origin) = &args.origin {
        options = options.origin(origin);
    }
    let began = net::now();
    let shows = !(args.json || args.quiet || has_input);
    let Args { datagrams, bidi, uni, wait, expect_close, .. } = args;
    let plan = Plan { datagrams, bidi, uni, wait, shows, typed, expect_close };
    let shared = State::new(plan, args.size, args.close.clone(), began).map_err(|e| Failure::Runtime(e.to_string()))?;
    let mut run = Run {
        client: Client::new(config)?,
        deadline: timeout.map(|timeout| began + timeout),
        timeout: timeout.unwrap_or_default(),
        lines: None,
        notifier: None,
        source,
        typed,
        args: &args,
        shared: shared.clone(),
    };
    run.client.open_session(options, Handler(shared.clone()));
    let result = run.until_the_end();
    run.close();
    let state = shared.borrow();
    let message = result.as_ref().err().map(Failure::message);
    let seconds = (net::now() - began).as_secs_f64();
    if args.json {
        print(&format!("{}\n", report::json(&args.url, &state, seconds, message)))?;
    } else if has_input && !args.quiet {
        eprint!("{}", report::text(&state));
    } else if !args.quiet {
        print(&report::text(&state))?;
    }
    result
}

struct Run<'a> {
    client: Client,
    deadline: Option<Instant>,
    timeout: Duration,
    lines: Option<Receiver<Vec<u8>>>,
    /// Set when standard input has data.
    notifier: Option<Notifier>,
    source: Source,
    typed: bool,
    args: &'a Args,
    shared: Shared,
}

impl Run<'_> {
    fn until_the_end(&mut self) -> Result<(), Failure> {
        loop {
            let next = self.shared.borrow().is_done(net::now()).err().flatten();
            self.client.turn([next, self.deadline].into_iter().flatten().min())?;
            let now = net::now();
            if let Some(failure) = self.shared.borrow_mut().failure.take() {
                return Err(failure);
            }
            if self.client.signals() > 0 {
                return Err(Failure::Coded(130, "interrupted".to_owned()));
            }
            if self.shared.borrow().end.is_some() {
                return self.ended();
            }
            let Some(session) = self.shared.borrow().session else {
                self.check_time(now)?;
                continue;
            };
            self.read_input(session);
            if self.shared.borrow().may_send(now) {
                let shared = self.shared.clone();
                self.client.with_session(session, |s| pump(&shared, s));
            }
            if self.shared.borrow().is_done(now).is_ok() && !self.args.expect_close {
                self.close_session();
                continue;
            }
            self.check_time(now)?;
        }
    }

    fn check_time(&self, now: Instant) -> Result<(), Failure> {
        match self.deadline.is_some_and(|at| at <= now) {
            false => Ok(()),
            true => {
                let mut state = self.shared.borrow_mut();
                state.conclude();
                if state.opened.is_none() {
                    let seconds = self.timeout.as_secs_f64();
                    return Err(Failure::Coded(28, format!("no session at {} within {seconds} s", self.args.url)));
                }
                let what = state.problems.first().map(|what| format!(": {what}")).unwrap_or_default();
                let what = if self.args.expect_close { ": the server did not close the session" } else { &what };
                Err(Failure::Coded(28, format!("it took longer than {} s{what}", self.timeout.as_secs_f64())))
            }
        }
    }

    fn close_session(&mut self) {
        let (session, (code, reason)) = (self.shared.borrow().session, self.shared.borrow().close.clone());
        if let Some(session) = session {
            self.client.with_session(session, |s| {
                s.close(code, &reason);
                Ok(())
            });
        }
    }

    /// Handles typed lines and standard input.
    fn read_input(&mut self, session: StreamId) {
        if self.source != Source::None && self.notifier.is_none() {
            let (input, notifier) = Input::read(self.client.waker());
            let mut state = self.shared.borrow_mut();
            state.listening = self.source == Source::InputIfAny;
            *(if state.listening { &mut state.piped } else { &mut state.input }) = Some(input);
            self.notifier = Some(notifier);
        }
        self.shared.borrow_mut().take_piped();
        if self.notifier.as_ref().is_some_and(Notifier::take)
            && let Some(stream) = self.shared.borrow().input_stream
        {
            self.client.with_session(session, |s| {
                let now = s.now();
                if let Some(mut stream) = s.stream(stream) {
                    stream.wake_at(now);
                }
                Ok(())
            });
        }
        if self.typed && self.lines.is_none() {
            if std::io::stdin().is_terminal() {
                eprintln!("The session is open. Each line is sent on a stream; /help lists commands.");
            }
            self.shared.borrow_mut().listening = true;
            self.lines = Some(input::lines(self.client.waker()));
        }
        while let Some(lines) = self.lines.as_ref().filter(|_| self.shared.borrow().may_type()) {
            self.shared.borrow_mut().last = net::now();
            match lines.try_recv() {
                Ok(line) => self.obey(session, Command::parse(&line)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.shared.borrow_mut().listening = false,
            }
        }
    }

    fn obey(&mut self, session: StreamId, command: Command) {
        match command {
            Command::Line(line) => self.shared.borrow_mut().type_line(line, true),
            Command::Uni(line) => self.shared.borrow_mut().type_line(line, false),
            Command::Datagram(payload) => {
                let mut sent = Ok(());
                self.client.with_session(session, |s| {
                    sent = s.send_datagram(&payload);
                    Ok(())
                });
                if let Err(error) = sent {
                    eprintln!("mio-quiche: {error}");
                }
            }
            Command::Close(code, reason) => {
                let mut state = self.shared.borrow_mut();
                (state.close, state.closing, state.listening) = ((code, reason), true, false);
            }
            Command::Help => eprint!("{}", input::HELP),
            Command::Wrong(what) => eprintln!("mio-quiche: {what}"),
        }
    }

    /// The session has ended: checks the result.
    fn ended(&mut self) -> Result<(), Failure> {
        let mut state = self.shared.borrow_mut();
        let Some(end) = state.end.clone() else { return Ok(()) };
        state.conclude();
        let failed = |what: String| Err(Failure::Runtime(what));
        if self.args.expect_close && end.by != EndedBy::Peer {
            return failed(format!("the session was not closed: it {end}"));
        }
        if let Some(first) = state.problems.first() {
            let more = state.problems.len() - 1;
            return failed(if more > 0 { format!("{first} (and {more} more)") } else { first.clone() });
        }
        match end.by {
            EndedBy::Connection => failed(format!("the session {end}")),
            EndedBy::Peer if !self.args.expect_close && !self.typed => {
                failed(format!("the session was {end} before everything was done"))
            }
            _ => Ok(()),
        }
    }

    /// Closes the session, and waits briefly for the acknowledgement.
    fn close(&mut self) {
        // It is already closed, unless something failed.
        self.close_session();
        let session = self.shared.borrow().session;
        if let Some(session) = session {
            let until = net::now() + GOODBYE;
            let mut look = net::now();
            while net::now() < until {
                if net::now() >= look {
                    look = net::now() + GOODBYE_STEP;
                    if self.client.endpoint().stream(net::now(), session).is_none() {
                        break;
                    }
                }
                if self.client.turn(Some(look)).is_err() {
                    break;
                }
            }
        }
        self.client.close();
    }
}
