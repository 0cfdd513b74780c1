//! HTTP/3 on a connection: quiche::h3, with workarounds for its quirks.
//!
//! quiche::h3 reports data once and expects it to be read until it has no more. It does not report data after an
//! empty DATA frame, or after a DATA header in a packet of its own; a stream that was read to the end but has data
//! is remembered here as [unread](Transport::take_unread).

use bytes::Bytes;
use quiche::h3;

use super::buf::{Buf, Unacked, take_front};
use super::connection::Transport;
use super::local_ids::LocalIds;
use super::stall::share_control_streams;
use super::stop_credit::StopCredit;
use super::stream_io::{ReadError, WriteError};

/// Urgencies below this one are those of the streams of quiche::h3 itself.
pub(crate) const URGENCY_OFFSET: u8 = 124;

/// The kind of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The first one on its stream.
    First,
    /// The head of another response: an informational one, or the final one after those.
    Further,
    /// After a body.
    Trailers,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestRefused {
    /// No credit now.
    Blocked,
    /// The server accepts no more requests.
    GoingAway,
    /// Session streams use the ids of later requests.
    IdsTaken,
    /// The head is larger than the congestion window, and quiche sends heads in one piece (quiche issue 1573).
    TooLarge {
        /// Bytes that fit.
        limit: usize,
    },
    /// The head cannot be sent.
    Invalid,
}

impl Transport {
    /// Starts HTTP/3. The peer may open `max_uni` unidirectional streams. False if that is not possible; quiche has
    /// closed the connection then.
    pub(crate) fn begin_http3(&mut self, config: &h3::Config, max_uni: u64) -> bool {
        let uni_left = self.quic.peer_streams_left_uni();
        match h3::Connection::with_transport(&mut self.quic, config) {
            Ok(h3) => {
                share_control_streams(&mut self.quic, &h3);
                self.h3 = Some(h3);
                let opened = uni_left - self.quic.peer_streams_left_uni();
                self.ids = LocalIds::new(self.quic.is_server(), opened);
                self.stop_credit = StopCredit::new(max_uni);
                self.repoll = true;
                true
            }
            Err(e) => {
                log::debug!("{}: HTTP/3 cannot begin: {e}", self.quic.trace_id());
                false
            }
        }
    }

    pub(crate) fn has_http3(&self) -> bool {
        self.h3.is_some()
    }

    /// The next event of HTTP/3. On a violation quiche has closed the connection, and there is none.
    pub(crate) fn poll_http3(&mut self) -> Option<(u64, h3::Event)> {
        if !std::mem::take(&mut self.repoll) {
            return None;
        }
        match self.h3.as_mut()?.poll(&mut self.quic) {
            Ok(event) => {
                self.repoll = true;
                Some(event)
            }
            Err(h3::Error::Done) => None,
            Err(e) => {
                log::debug!("{}: HTTP/3 error: {e}", self.quic.trace_id());
                None
            }
        }
    }

    /// Streams with data that is not reported by an event.
    pub(crate) fn take_unread(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unread)
    }

    /// The peer's SETTINGS, once they have arrived.
    pub(crate) fn peer_settings(&self) -> Option<&[(u64, u64)]> {
        self.h3.as_ref()?.peer_settings_raw()
    }

    /// Keeps a server from sending GREASE frames, once the peer's SETTINGS have arrived.
    pub(crate) fn skip_grease_frames(&mut self) {
        if let Some(h3) = &mut self.h3 {
            super::grease::skip_frames(&mut self.quic, h3);
        }
    }

    /// Whether both sides use HTTP datagrams (RFC 9297 section 2.1.1).
    pub(crate) fn has_http_datagrams(&self) -> bool {
        self.h3.as_ref().is_some_and(|h3| h3.dgram_enabled_by_peer(&self.quic))
    }

    /// Whether the peer accepts extended CONNECT (RFC 9220).
    pub(crate) fn takes_extended_connect(&self) -> bool {
        self.h3.as_ref().is_some_and(h3::Connection::extended_connect_enabled_by_peer)
    }

    /// The latest PRIORITY_UPDATE frame for a stream (RFC 9218 section 7).
    pub(crate) fn take_priority_update(&mut self, stream: u64) -> Option<Vec<u8>> {
        self.h3.as_mut()?.take_last_priority_update(stream).ok()
    }

    /// Sends GOAWAY: requests from `stream` on are not processed. False if there is no credit now.
    pub(crate) fn send_goaway(&mut self, stream: u64) -> bool {
        self.h3.as_mut().is_some_and(|h3| h3.send_goaway(&mut self.quic, stream).is_ok())
    }

    /// Sends a request's head, and returns its stream.
    pub(crate) fn send_request<T: h3::NameValue>(&mut self, fields: &[T], fin: bool) -> Result<u64, RequestRefused> {
        if !self.ids.takes_requests() {
            return Err(RequestRefused::IdsTaken);
        }
        let Some(h3) = &mut self.h3 else { return Err(RequestRefused::Blocked) };
        match h3.send_request(&mut self.quic, fields, fin) {
            Ok(stream) => {
                self.ids.on_request(stream);
                Ok(stream)
            }
            Err(h3::Error::StreamBlocked | h3::Error::Done)
            | Err(h3::Error::TransportError(quiche::Error::StreamLimit | quiche::Error::Done)) => {
                let next = self.ids.next_request();
                Err(match self.stuck_head_limit(next) {
                    Some(limit) => RequestRefused::TooLarge { limit },
                    None => RequestRefused::Blocked,
                })
            }
            Err(h3::Error::FrameUnexpected) => Err(RequestRefused::GoingAway),
            Err(e) => {
                log::debug!("{}: a request cannot be sent: {e}", self.quic.trace_id());
                Err(RequestRefused::Invalid)
            }
        }
    }

    /// The bytes that fit, if a head can never be sent: it needs more than the whole congestion window, which
    /// does not grow while nothing is sent.
    pub(crate) fn stuck_head_limit(&mut self, stream: u64) -> Option<usize> {
        let capacity = self.quic.stream_capacity(stream).ok()?;
        let window = self.quic.path_stats().find(|path| path.active)?.cwnd;
        (capacity >= window).then_some(capacity)
    }

    /// Sends a field section, the first one with the priority of its stream. False when there is no room for it now.
    pub(crate) fn send_fields<T: h3::NameValue>(
        &mut self,
        stream: u64,
        section: Section,
        fields: &[T],
        (urgency, incremental): (u8, bool),
        fin: bool,
    ) -> Result<bool, WriteError> {
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return Err(WriteError::Gone) };
        let sent = match section {
            Section::First => {
                // quiche::h3 adds the offset that it keeps for its control streams.
                let priority = h3::Priority::new(urgency - URGENCY_OFFSET, incremental);
                h3.send_response_with_priority(quic, stream, fields, &priority, fin)
            }
            Section::Further => h3.send_additional_headers(quic, stream, fields, false, fin),
            Section::Trailers => h3.send_additional_headers(quic, stream, fields, true, fin),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(h3::Error::StreamBlocked | h3::Error::Done) => Ok(false),
            Err(e) => Err(write_error(&e)),
        }
    }

    /// Writes body bytes without copying them, and leaves the rest in `data`; the FIN is sent with the last ones.
    pub(crate) fn write_body(&mut self, stream: u64, data: &mut Bytes, fin: bool) -> Result<usize, WriteError> {
        let buf = Buf::share(data);
        self.write_buf(stream, buf, data, fin)
    }

    /// As [`write_body`](Transport::write_body); `unacked` tracks when the bytes are acknowledged.
    pub(crate) fn write_body_tracked(
        &mut self,
        stream: u64,
        data: &mut Bytes,
        unacked: &Unacked,
    ) -> Result<usize, WriteError> {
        let buf = Buf::share(data).tracked(unacked);
        self.write_buf(stream, buf, data, false)
    }

    fn write_buf(&mut self, stream: u64, mut buf: Buf, data: &mut Bytes, fin: bool) -> Result<usize, WriteError> {
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return Err(WriteError::Gone) };
        if self.write_limit.is_reached(quic) {
            return Ok(0);
        }
        let taken = none_if_blocked(h3.send_body_zc(quic, stream, &mut buf, fin))?;
        self.write_limit.on_written(taken);
        take_front(data, taken);
        Ok(taken)
    }

    /// As [`write_body`](Transport::write_body), with a copy.
    pub(crate) fn copy_body(&mut self, stream: u64, data: &[u8]) -> Result<usize, WriteError> {
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return Err(WriteError::Gone) };
        if self.write_limit.is_reached(quic) {
            return Ok(0);
        }
        let taken = none_if_blocked(h3.send_body(quic, stream, data, false))?;
        self.write_limit.on_written(taken);
        Ok(taken)
    }

    /// Finishes a message. An empty DATA frame carries the FIN, as quiche may never retransmit a lost FIN that is
    /// sent alone. False if there is no credit now.
    pub(crate) fn end_body(&mut self, stream: u64) -> Result<bool, WriteError> {
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return Err(WriteError::Gone) };
        match h3.send_body(quic, stream, b"", true) {
            Ok(_) => Ok(true),
            Err(h3::Error::Done | h3::Error::StreamBlocked) => Ok(false),
            Err(e) => Err(write_error(&e)),
        }
    }

    /// Reads body bytes.
    pub(crate) fn read_body(&mut self, stream: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.read_body_with(stream, |h3, quic| h3.recv_body(quic, stream, buf))
    }

    /// Reads at most `max` body bytes into a new buffer.
    pub(crate) fn read_body_chunk(&mut self, stream: u64, max: usize) -> Result<Bytes, ReadError> {
        let available = self.quic.stream_readable_len(stream, max).max(1);
        let mut buf = bytes::BytesMut::with_capacity(available);
        self.read_body_with(stream, |h3, quic| {
            h3.recv_body_buf(quic, stream, bytes::BufMut::limit(&mut buf, available))
        })?;
        Ok(buf.freeze())
    }

    fn read_body_with(
        &mut self,
        stream: u64,
        read: impl FnOnce(&mut h3::Connection, &mut super::buf::Quic) -> h3::Result<usize>,
    ) -> Result<usize, ReadError> {
        // A FIN or a reset is reported by an event, with its side effects. On a stream with nothing to read at all,
        // quiche::h3 must still be asked: it reports more data only after that.
        if self.is_at_end(stream) {
            return Err(ReadError::Pending);
        }
        let (quic, Some(h3)) = (&mut self.quic, &mut self.h3) else { return Err(ReadError::Gone) };
        match read(h3, quic) {
            Ok(n) => {
                self.repoll = true;
                self.note_use(n);
                Ok(n)
            }
            Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => Err(ReadError::Reset(code)),
            // Anything else closes the connection from within quiche.
            Err(_) => {
                if quic.stream_readable_len(stream, 1) > 0 {
                    self.repoll = true;
                    self.unread.push(stream);
                }
                Err(ReadError::Pending)
            }
        }
    }
}

fn none_if_blocked(written: h3::Result<usize>) -> Result<usize, WriteError> {
    match written {
        Ok(n) => Ok(n),
        Err(h3::Error::Done | h3::Error::StreamBlocked) => Ok(0),
        Err(e) => Err(write_error(&e)),
    }
}

fn write_error(error: &h3::Error) -> WriteError {
    match error {
        h3::Error::TransportError(quiche::Error::StreamStopped(code)) => WriteError::Stopped(*code),
        _ => WriteError::Gone,
    }
}
