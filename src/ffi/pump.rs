//! Passes a stream's data between the caller's side and the engine.

use bytes::Bytes;
use http::header::DATE;

use super::event::{
    Event, MQ_EVENT_READABLE, MQ_EVENT_RESET, MQ_EVENT_STOPPED, MQ_EVENT_TRAILERS, MQ_EVENT_WRITABLE, MQ_FLAG_END,
    MQ_FLAG_LOCAL,
};
use super::fields;
use super::state::Bounds;
use super::stream::{End, Kind, Received, Sent, Stream};
use crate::endpoint;
use crate::error::{ErrorCode, StreamError};
use crate::h3::Recv;

/// Bytes of a chunk that is read at most.
const CHUNK: usize = 64 * 1024;

/// Passes on what waits in both directions, and returns the events that the caller is to have of it. `date` is the value
/// of a response's `date` field.
pub(super) fn pump(
    id: u64,
    stream: &mut Stream,
    engine: &mut endpoint::Stream<'_>,
    bounds: Bounds,
    date: &http::HeaderValue,
) -> Vec<Event> {
    let mut events = Vec::new();
    abort(stream, engine);
    if let Err(error) = send(stream, engine, date) {
        on_send_failure(id, stream, &error, &mut events);
    }
    if stream.sending.wants_room && stream.sending.len <= bounds.write_buffer / 2 && stream.sending.state == Sent::Open
    {
        stream.sending.wants_room = false;
        events.push(Event::new(MQ_EVENT_WRITABLE, id));
    }
    receive(id, stream, engine, bounds.read_buffer, &mut events);
    events
}

/// The error code on the wire for a code of the caller's.
fn wire_code(kind: Kind, code: u64) -> ErrorCode {
    match kind {
        Kind::Session => ErrorCode::webtransport(u32::try_from(code).unwrap_or(u32::MAX)),
        Kind::Request { .. } | Kind::Response => ErrorCode(code),
    }
}

fn abort(stream: &mut Stream, engine: &mut endpoint::Stream<'_>) {
    let aborts = std::mem::take(&mut stream.aborts);
    if let Some(code) = aborts.both {
        engine.reset(wire_code(stream.kind, code));
    }
    // Only on streams of sessions, so these do not fail.
    if let Some(code) = aborts.send {
        let _ = engine.reset_send(wire_code(stream.kind, code));
    }
    if let Some(code) = aborts.receive {
        let _ = engine.stop(wire_code(stream.kind, code));
    }
}

fn send(stream: &mut Stream, engine: &mut endpoint::Stream<'_>, date: &http::HeaderValue) -> Result<(), StreamError> {
    let sending = &mut stream.sending;
    if sending.state != Sent::Open {
        return Ok(());
    }
    if !engine.is_sending() {
        // The write fails, and says why.
        engine.write(&[])?;
        return Err(StreamError::Closed);
    }
    while let Some(head) = sending.informational.pop_front() {
        engine.send_informational(head.status, &head.headers)?;
    }
    let mut has_new_head = false;
    if let Some(mut head) = sending.head.take() {
        head.headers.entry(DATE).or_insert_with(|| date.clone());
        engine.set_head(head);
        has_new_head = true;
    }
    while let Some(chunk) = sending.chunks.front_mut() {
        let before = chunk.len();
        let is_last = sending.len == before && matches!(sending.end, Some(End::Plain));
        let is_done = is_last && engine.finish_with(chunk)?;
        if !is_last {
            engine.write_bytes(chunk)?;
        }
        sending.len -= before - chunk.len();
        if !chunk.is_empty() {
            return Ok(());
        }
        sending.chunks.pop_front();
        if is_done {
            sending.state = Sent::Closed;
            return Ok(());
        }
    }
    match sending.end.take() {
        Some(End::Plain) => engine.finish()?,
        Some(End::Trailers(trailers)) if !sending.bodiless => engine.finish_with_trailers(&trailers)?,
        Some(End::Trailers(_)) => engine.finish()?,
        None if has_new_head => return engine.send_head(),
        None => return Ok(()),
    }
    sending.state = Sent::Closed;
    Ok(())
}

fn on_send_failure(id: u64, stream: &mut Stream, error: &StreamError, events: &mut Vec<Event>) {
    stream.sending.fail();
    let event = Event::new(MQ_EVENT_STOPPED, id);
    events.push(match error {
        StreamError::Stopped(code) => event.code(application_code(stream.kind, *code)),
        error => event.flags(MQ_FLAG_LOCAL).data(error.to_string()),
    });
}

fn receive(id: u64, stream: &mut Stream, engine: &mut endpoint::Stream<'_>, bound: usize, events: &mut Vec<Event>) {
    let receiving = &mut stream.receiving;
    while receiving.state == Received::Open && receiving.len < bound {
        match engine.read_chunk(CHUNK.min(bound - receiving.len)) {
            Ok(Recv::Data(chunk)) => {
                receiving.len += chunk.len();
                receiving.chunks.push_back(chunk);
            }
            Ok(Recv::Pending) => break,
            Ok(Recv::Finished) => {
                receiving.state = Received::Ended;
                if let Some(trailers) = engine.trailers().filter(|trailers| !trailers.is_empty()) {
                    events.push(Event::new(MQ_EVENT_TRAILERS, id).data(fields::write(&[], trailers)));
                }
            }
            Err(error) => {
                receiving.fail();
                events.push(reset(id, stream.kind, &error));
                return;
            }
        }
    }
    let has_ended = receiving.state == Received::Ended;
    if !receiving.announced && (receiving.len > 0 || has_ended) {
        receiving.announced = true;
        let flags = if has_ended { MQ_FLAG_END } else { 0 };
        events.push(Event::new(MQ_EVENT_READABLE, id).flags(flags));
    }
}

fn reset(id: u64, kind: Kind, error: &StreamError) -> Event {
    let event = Event::new(MQ_EVENT_RESET, id);
    match error {
        StreamError::Reset(code) => event.code(application_code(kind, *code)),
        error => event.flags(MQ_FLAG_LOCAL).data(Bytes::from(error.to_string())),
    }
}

/// The peer's code as the caller sees it. One that no application's code maps to is 0, as browsers have it.
fn application_code(kind: Kind, code: ErrorCode) -> u64 {
    match kind {
        Kind::Session => u64::from(code.to_webtransport().unwrap_or(0)),
        Kind::Request { .. } | Kind::Response => code.0,
    }
}
