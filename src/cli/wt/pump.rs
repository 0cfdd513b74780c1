//! Sends the planned streams and datagrams when there is credit.

use mio_quiche::{DatagramError, Result, Session, SessionError};

use super::state::{Next, Shared};
use super::streams::{Ask, EchoCheck, Pipe, SendUni};

/// Sends as much as possible now.
pub(super) fn pump(shared: &Shared, s: &mut Session<'_>) -> Result<()> {
    let now = s.now();
    while let Some(next) = Some(shared.borrow()).filter(|state| !state.blocked).and_then(|state| state.next_stream()) {
        let bidi = matches!(next, Next::Input | Next::Typed(true) | Next::Bidi);
        let id = match if bidi { s.open_bidi() } else { s.open_uni() } {
            Ok(id) => id,
            Err(SessionError::StreamLimit) => {
                shared.borrow_mut().blocked = true;
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let mut state = shared.borrow_mut();
        state.last = now;
        match next {
            Next::Input => {
                state.input_stream = Some(id);
                let Some(input) = state.input.take() else { continue };
                state.asking += 1;
                s.run(id, Pipe::new(input, shared.clone()));
            }
            Next::Typed(_) => {
                let Some((text, _)) = state.typed.pop_front() else { continue };
                state.asking += 1;
                s.run(id, Ask::new(text, bidi, state.plan.shows, shared.clone()));
            }
            Next::Bidi => s.run(id, EchoCheck::new(state.bidi.open(now), shared.clone())),
            Next::Uni => s.run(id, SendUni::new(state.uni.open(now), shared.clone())),
        }
    }
    let mut state = shared.borrow_mut();
    while state.may_send_datagram(now) {
        let n = state.datagrams.sent;
        match s.send_datagram(&state.content.whole(n)) {
            Ok(()) => {}
            // The queued ones are sent first.
            Err(DatagramError::QueueFull) => break,
            Err(error) => {
                state.plan.datagrams = n;
                state.problem(error.to_string());
                break;
            }
        }
        state.datagrams.sent += 1;
        state.datagrams.last = now;
        state.datagrams.waiting.insert(n, now);
    }
    Ok(())
}
