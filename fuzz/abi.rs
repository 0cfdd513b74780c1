//! The fuzz target `abi`: a server and a client behind the C ABI, called in an order and with arguments that the input
//! chooses. No call fails inside the library, what it lends can be read, and with the default settings the server still
//! answers another client afterwards.

#![allow(unsafe_code, reason = "functions of a C ABI are called")]

#[path = "calls.rs"]
mod calls;

use std::sync::OnceLock;

use calls::{Choices, call, section};
use mio_quiche::app::cert::DevCert;
use mio_quiche::ffi::*;

/// Settings that do no more than limit something.
const SETTINGS: [&str; 28] = [
    "active_migration",
    "datagram_queue",
    "drafts",
    "early_data",
    "event_queue",
    "grease",
    "initial_max_data",
    "initial_max_stream_data",
    "keep_alive",
    "max_connections",
    "max_field_section",
    "max_fields",
    "max_handshakes",
    "max_request_body",
    "max_request_rate",
    "max_session_streams",
    "max_sessions",
    "max_streams_bidi",
    "max_streams_uni",
    "max_target",
    "max_udp_payload",
    "read_buffer",
    "request_timeout",
    "retry",
    "session_idle_timeout",
    "session_max_data",
    "webtransport",
    "write_buffer",
];
const VALUES: [&str; 10] = ["0", "1", "3", "100", "1200", "70000", "on", "off", "", "-1"];
/// Polls until an answer has to be there.
const PATIENCE: usize = 5_000;

/// The input, from which every choice takes some bytes.
struct Input<'a>(&'a [u8]);

impl Choices for Input<'_> {
    fn below(&mut self, n: u64) -> u64 {
        let len = if n <= 1 << 8 { 1 } else { 4 };
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) % n
    }
}

/// An engine that runs while it is polled.
struct Engine(u64);

impl Drop for Engine {
    fn drop(&mut self) {
        assert_eq!(mq_stop(self.0), 0);
        assert_eq!(mq_stop(self.0), MQ_ERR_HANDLE);
    }
}

/// A function that makes an engine.
type New = unsafe extern "C" fn(*const u8, usize, mq_wake, *mut u64) -> i32;

impl Engine {
    /// `None` if it refuses the settings.
    fn new(new: New, settings: &[&[u8]]) -> Option<Self> {
        let (settings, mut handle) = (settings.concat(), 0);
        // SAFETY: the settings are there, and so is the room for the handle.
        let code = checked(unsafe { new(settings.as_ptr(), settings.len(), None, &mut handle) });
        (code >= 0).then(|| Engine(handle))
    }

    fn server(settings: &[u8]) -> Option<Self> {
        static CERT: OnceLock<DevCert> = OnceLock::new();
        let cert = CERT.get_or_init(|| DevCert::generate(&["localhost".to_owned()]).expect("a certificate"));
        let own = [("listen", "127.0.0.1:0"), ("cert_pem", cert.cert_pem()), ("key_pem", cert.key_pem())];
        Self::new(mq_server_new, &[&section(&own), settings])
    }

    fn client(settings: &[u8]) -> Option<Self> {
        Self::new(mq_client_new, &[&section(&[("insecure", "on")]), settings])
    }

    fn url(&self, path: &str) -> String {
        let mut buf = [0; 100];
        // SAFETY: there is as much room.
        let len = checked(unsafe { mq_local_addr(self.0, buf.as_mut_ptr(), buf.len()) });
        let addr = usize::try_from(len).map(|len| String::from_utf8_lossy(&buf[..len]).into_owned());
        format!("https://{}{path}", addr.expect("an address"))
    }

    /// Polls once, for up to `ms` milliseconds and `cap` events, at most 16. Payloads are copied to `buf`, or else lent.
    fn poll(&self, cap: usize, ms: i32, buf: Option<&mut [u8]>) -> Vec<(mq_event, Vec<u8>)> {
        // SAFETY: all-zero is a valid event.
        let mut events = [unsafe { std::mem::zeroed::<mq_event>() }; 16];
        // SAFETY: there is as much room.
        let count = checked(match buf {
            Some(buf) => unsafe { mq_poll_into(self.0, events.as_mut_ptr(), cap, buf.as_mut_ptr(), buf.len(), ms) },
            None => unsafe { mq_poll(self.0, events.as_mut_ptr(), cap, ms) },
        });
        let Ok(count) = usize::try_from(count) else { return Vec::new() };
        assert!(count <= cap, "{count} of {cap} events");
        let own = |event: &mq_event| {
            assert_ne!(event.kind, MQ_EVENT_ENDED, "code {}", event.code);
            let payload = match event.data.is_null() {
                true => Vec::new(),
                // SAFETY: lent until the next poll.
                false => unsafe { std::slice::from_raw_parts(event.data, event.len as usize) }.to_vec(),
            };
            (*event, payload)
        };
        events[..count].iter().map(own).collect()
    }
}

/// A code that is not a failure inside the library.
#[track_caller]
fn checked(code: i32) -> i32 {
    assert_ne!(code, MQ_ERR_INTERNAL);
    code
}

fn settings(input: &mut Input<'_>) -> Vec<u8> {
    let pairs: Vec<_> = (0..input.below(4)).map(|_| (input.pick(&SETTINGS), input.pick(&VALUES))).collect();
    section(&pairs)
}

/// Runs an input.
pub(crate) fn run(input: &[u8]) {
    let mut input = Input(input);
    let is_plain = input.below(2) == 0;
    let (ours, theirs) = if is_plain { Default::default() } else { (settings(&mut input), settings(&mut input)) };
    let (Some(server), Some(client)) = (Engine::server(&ours), Engine::client(&theirs)) else { return };
    let urls = [server.url("/"), server.url("/other?a=b"), server.url(""), server.url("/\u{7f}"), "x".to_owned()];
    let mut memory = vec![b'm'; 20_000];
    while !input.0.is_empty() {
        let url = &urls[input.below(urls.len() as u64) as usize];
        match input.below(16) {
            0..=5 => drop(checked(call(&mut input, server.0, url, &mut memory))),
            6..=10 => drop(checked(call(&mut input, client.0, url, &mut memory))),
            11 => {
                let handle = input.pick(&[0, u64::MAX, server.0 ^ 1 << 32]);
                assert!(checked(call(&mut input, handle, url, &mut memory)) < 0);
            }
            12 => {
                let (cap, room) = (input.pick(&[0, 1, 16]), input.pick(&[0, 10, 20_000]));
                let engine = if input.below(2) == 0 { &server } else { &client };
                engine.poll(cap, 0, Some(&mut memory[..room]));
                // SAFETY: there is as much room.
                checked(unsafe { mq_last_error(memory.as_mut_ptr(), room) });
            }
            _ => {
                for _ in 0..=input.below(4) {
                    server.poll(16, 0, None);
                    client.poll(16, 0, None);
                }
            }
        }
    }
    if is_plain {
        answers(&server);
    }
}

/// A server answers a client of its own.
fn answers(server: &Engine) {
    let client = Engine::client(&[]).expect("a client");
    let (url, mut id) = (server.url("/after"), 0);
    // SAFETY: everything is there.
    let code = unsafe {
        mq_request(
            client.0,
            b"GET".as_ptr(),
            3,
            url.as_ptr(),
            url.len(),
            [].as_ptr(),
            0,
            [].as_ptr(),
            0,
            MQ_FLAG_END,
            &mut id,
        )
    };
    assert_eq!(code, 0);
    for _ in 0..PATIENCE {
        for (event, payload) in server.poll(16, 1, None) {
            if event.kind == MQ_EVENT_REQUEST && payload.split(|byte| *byte == 0).any(|part| part == b"/after") {
                // SAFETY: everything is there.
                let code = unsafe { mq_respond(server.0, event.id, 204, [].as_ptr(), 0, [].as_ptr(), 0, MQ_FLAG_END) };
                assert_eq!(code, 0);
            }
        }
        for (event, _) in client.poll(16, 1, None) {
            if event.kind == MQ_EVENT_RESPONSE {
                assert_eq!((event.id, event.code), (id, 204));
                return;
            }
        }
    }
    panic!("no answer after {PATIENCE} polls");
}
