//! The ABI for tests: an engine that stops when it is dropped, and events that own their payloads.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{mem, ptr};

use mio_quiche::app::cert::DevCert;
use mio_quiche::ffi::*;

/// How long anything may take. Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// An event with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) code: u64,
    pub(crate) data: Vec<u8>,
}

impl Event {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap()
    }

    /// The fields of a head.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let parts: Vec<&str> = self.text().split_terminator('\0').collect();
        parts.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields().into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

/// An engine.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) handle: u64,
    /// Events that nobody has asked for yet.
    waiting: VecDeque<Event>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        mq_stop(self.handle);
    }
}

/// A section of names and values.
pub(crate) fn section(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect()
}

/// The certificate of all servers: for `localhost` and 127.0.0.1.
pub(crate) fn cert() -> &'static DevCert {
    static CERT: OnceLock<DevCert> = OnceLock::new();
    CERT.get_or_init(|| DevCert::generate(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap())
}

/// What there is to say about the latest failure.
pub(crate) fn last_error() -> String {
    let mut buf = vec![0; 1000];
    // SAFETY: there is as much room.
    let len = unsafe { mq_last_error(buf.as_mut_ptr(), buf.len()) };
    buf.truncate(usize::try_from(len).unwrap());
    String::from_utf8(buf).unwrap()
}

/// What a function says that returns a count or 0.
#[track_caller]
pub(crate) fn ok(code: i32) -> usize {
    usize::try_from(code).unwrap_or_else(|_| panic!("code {code}: {}", last_error()))
}

/// The settings of a server: on a port that the system chooses, with the certificate of all.
pub(crate) fn server_settings(more: &[(&str, &str)]) -> Vec<u8> {
    let own = [("listen", "127.0.0.1:0"), ("cert_pem", cert().cert_pem()), ("key_pem", cert().key_pem())];
    [section(&own), section(more)].concat()
}

impl Engine {
    /// A server with a thread of its own, and further settings.
    pub(crate) fn server(more: &[(&str, &str)]) -> Self {
        Self::server_here(&[&[("thread", "on")], more].concat())
    }

    /// A server without a thread of its own.
    pub(crate) fn server_here(more: &[(&str, &str)]) -> Self {
        let settings = server_settings(more);
        let mut handle = 0;
        // SAFETY: the settings are there, and so is the room for the handle.
        ok(unsafe { mq_server_new(settings.as_ptr(), settings.len(), None, &mut handle) });
        Self::adopt(handle)
    }

    /// A client with a thread of its own that trusts any certificate, and further settings.
    pub(crate) fn client(more: &[(&str, &str)]) -> Self {
        let settings = section(&[&[("thread", "on"), ("insecure", "on")], more].concat());
        let mut handle = 0;
        // SAFETY: as above.
        ok(unsafe { mq_client_new(settings.as_ptr(), settings.len(), None, &mut handle) });
        Self::adopt(handle)
    }

    /// An engine that exists.
    pub(crate) fn adopt(handle: u64) -> Self {
        Engine { handle, waiting: VecDeque::new() }
    }

    pub(crate) fn addr(&self) -> String {
        let mut buf = [0; 100];
        // SAFETY: there is as much room.
        let len = ok(unsafe { mq_local_addr(self.handle, buf.as_mut_ptr(), buf.len()) });
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr())
    }

    /// Polls once, with room for `cap` events.
    pub(crate) fn poll(&mut self, cap: usize, timeout_ms: i32) -> Vec<Event> {
        // SAFETY: all-zero is a valid event.
        let mut events = vec![unsafe { mem::zeroed::<mq_event>() }; cap];
        // SAFETY: there is as much room.
        let count = ok(unsafe { mq_poll(self.handle, events.as_mut_ptr(), cap, timeout_ms) });
        let own = |event: &mq_event| {
            let data = match event.data.is_null() {
                true => Vec::new(),
                // SAFETY: lent until the next poll.
                false => unsafe { std::slice::from_raw_parts(event.data, event.len as usize) }.to_vec(),
            };
            assert_eq!((data.len() as u64, event.reserved), (event.len, 0));
            let &mq_event { kind, flags, id, parent, code, .. } = event;
            Event { kind, flags, id, parent, code, data }
        };
        events[..count].iter().map(own).collect()
    }

    /// The next event of a kind; others wait until they are asked for.
    #[track_caller]
    pub(crate) fn next(&mut self, kind: u32) -> Event {
        self.next_that(&format!("kind {kind}"), |event| event.kind == kind)
    }

    /// The next event of a kind about an id.
    #[track_caller]
    pub(crate) fn next_of(&mut self, kind: u32, id: u64) -> Event {
        self.next_that(&format!("kind {kind} of {id}"), |event| event.kind == kind && event.id == id)
    }

    #[track_caller]
    fn next_that(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.waiting.iter().position(&wanted) {
                return self.waiting.remove(at).unwrap();
            }
            assert!(Instant::now() < until, "no event of {what}; there are {:?}", self.waiting);
            let events = self.poll(64, 1000);
            self.waiting.extend(events);
        }
    }

    /// The kinds of the events that came and were not asked for.
    pub(crate) fn left(&mut self) -> Vec<u32> {
        let events = self.poll(64, 0);
        self.waiting.extend(events);
        self.waiting.iter().map(|event| event.kind).collect()
    }

    pub(crate) fn respond(&self, id: u64, status: u32, fields: &[(&str, &str)], body: &[u8], flags: u32) -> i32 {
        let fields = section(fields);
        // SAFETY: everything is there.
        unsafe { mq_respond(self.handle, id, status, fields.as_ptr(), fields.len(), body.as_ptr(), body.len(), flags) }
    }

    pub(crate) fn write(&self, id: u64, data: &[u8], flags: u32) -> i32 {
        // SAFETY: everything is there.
        unsafe { mq_write(self.handle, id, data.as_ptr(), data.len(), flags) }
    }

    pub(crate) fn finish(&self, id: u64, trailers: &[(&str, &str)]) -> i32 {
        let trailers = section(trailers);
        // SAFETY: everything is there.
        unsafe { mq_finish(self.handle, id, trailers.as_ptr(), trailers.len()) }
    }

    /// Writes all, waiting for room.
    pub(crate) fn write_all(&mut self, id: u64, mut data: &[u8], flags: u32) {
        loop {
            match self.write(id, data, flags) {
                MQ_ERR_AGAIN => {}
                taken => data = &data[ok(taken)..],
            }
            if data.is_empty() {
                return;
            }
            self.next_of(MQ_EVENT_WRITABLE, id);
        }
    }

    pub(crate) fn read(&self, id: u64, cap: usize) -> Result<Vec<u8>, i32> {
        let mut buf = vec![0; cap];
        // SAFETY: there is as much room.
        let len = unsafe { mq_read(self.handle, id, buf.as_mut_ptr(), cap) };
        buf.truncate(usize::try_from(len).map_err(|_| len)?);
        Ok(buf)
    }

    /// Reads to the end, waiting for more.
    #[track_caller]
    pub(crate) fn read_all(&mut self, id: u64) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.read(id, 64 * 1024) {
                Ok(data) if data.is_empty() => return all,
                Ok(data) => all.extend(data),
                Err(MQ_ERR_AGAIN) => drop(self.next_of(MQ_EVENT_READABLE, id)),
                Err(code) => panic!("code {code} after {} bytes: {}", all.len(), last_error()),
            }
        }
    }

    /// Begins a request, and returns its id.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, url: &str, fields: &[(&str, &str)], body: &[u8], flags: u32) -> u64 {
        let fields = section(fields);
        let mut id = 0;
        // SAFETY: everything is there.
        let taken = unsafe {
            mq_request(
                self.handle,
                method.as_ptr(),
                method.len(),
                url.as_ptr(),
                url.len(),
                fields.as_ptr(),
                fields.len(),
                body.as_ptr(),
                body.len(),
                flags,
                &mut id,
            )
        };
        assert_eq!(ok(taken), body.len());
        id
    }

    pub(crate) fn get(&self, url: &str) -> u64 {
        self.request("GET", url, &[], b"", MQ_FLAG_END)
    }

    /// Asks for a session, and returns its id.
    #[track_caller]
    pub(crate) fn connect(&self, url: &str, options: &[(&str, &str)]) -> u64 {
        let options = section(options);
        let mut id = 0;
        // SAFETY: everything is there.
        ok(unsafe { mq_connect(self.handle, url.as_ptr(), url.len(), options.as_ptr(), options.len(), &mut id) });
        id
    }

    pub(crate) fn accept(&self, session: u64, fields: &[(&str, &str)]) -> i32 {
        let fields = section(fields);
        // SAFETY: everything is there.
        unsafe { mq_accept(self.handle, session, fields.as_ptr(), fields.len()) }
    }

    #[track_caller]
    pub(crate) fn open(&self, session: u64, unidirectional: u32) -> u64 {
        let mut id = 0;
        // SAFETY: there is room.
        ok(unsafe { mq_open_stream(self.handle, session, unidirectional, &mut id) });
        id
    }

    pub(crate) fn send_datagram(&self, id: u64, data: &[u8]) -> i32 {
        // SAFETY: everything is there.
        unsafe { mq_send_datagram(self.handle, id, data.as_ptr(), data.len()) }
    }

    pub(crate) fn close_session(&self, id: u64, code: u32, reason: &str) -> i32 {
        // SAFETY: everything is there.
        unsafe { mq_close_session(self.handle, id, code, reason.as_ptr(), reason.len()) }
    }
}

/// A pointer that nothing may be behind.
pub(crate) const NOTHING: *const u8 = ptr::null();
