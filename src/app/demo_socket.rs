//! The demo's sessions over WebSockets, for browsers that cannot reach the server by UDP.
//!
//! | path | what it does |
//! |---|---|
//! | `/wt/echo` | echoes messages |
//! | `/wt/close` | closes with `?code=N&reason=TEXT`, at once or on the first message (`&on=datagram`) |
//!
//! A session's code 0 is a WebSocket's 1000, and a code up to 999 is 4000 more (RFC 6455 section 7.4.2).

use http::StatusCode;

use super::origin::allows;
use crate::h3::form_values;
use crate::net::web_socket::{CloseCode, WebSocketHandler, WebSocketMessage as Message, accept, close_frame};
use crate::net::{Http1Answer, Http1Request, Http1Response};

/// The answer to a request for one of the paths. A page has to be of an origin that may open sessions, too: the
/// server's own, one of the admin port's, or one in `allowed`.
pub(super) fn answer(request: &Http1Request<'_>, allowed: &[String], admin: &[String]) -> Option<Http1Answer> {
    // Without the field it is a request like any other.
    if !request.field("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        return None;
    }
    let handler = match request.path {
        "/wt/echo" => DemoSocket { close: None, at_once: false },
        "/wt/close" => {
            let value = |name| form_values(request.query, name).next();
            let code = value("code").and_then(|code| code.parse().ok()).unwrap_or(0);
            let Some(code) = close_code(code) else {
                let text = "a WebSocket has room for codes up to 999\n";
                return Some(Http1Answer::Response(Http1Response::text(StatusCode::BAD_REQUEST, text)));
            };
            let frame = close_frame(code, &value("reason").unwrap_or_default());
            DemoSocket { close: Some(Message::Close(Some(frame))), at_once: value("on").as_deref() != Some("datagram") }
        }
        _ => return None,
    };
    let (origin, host) = (request.field("origin"), request.field("host").unwrap_or_default());
    if !allows(origin, "https", host, allowed) && !allows(origin, "https", host, admin) {
        return Some(Http1Answer::Response(Http1Response::text(StatusCode::FORBIDDEN, "not from this origin\n")));
    }
    Some(accept(request, handler))
}

fn close_code(code: u32) -> Option<CloseCode> {
    match code {
        0 => Some(CloseCode::Normal),
        1..=999 => u16::try_from(code).ok().map(|code| CloseCode::from(4000 + code)),
        _ => None,
    }
}

struct DemoSocket {
    /// Sent instead of an echo.
    close: Option<Message>,
    at_once: bool,
}

impl WebSocketHandler for DemoSocket {
    fn opened(&mut self) -> Option<Message> {
        if self.at_once { self.close.take() } else { None }
    }

    fn message(&mut self, message: Message) -> Option<Message> {
        self.close.take().or(Some(message))
    }
}
