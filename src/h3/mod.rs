//! One request and its response on quiche's HTTP/3: validation, bodies in and out, trailers, priorities.

mod answer;
mod priority;
mod request;
mod state;
mod stream;
mod validate;

pub(crate) use answer::{is_known_method, plain_answer};
pub use priority::Priority;
pub use request::Request;
pub(crate) use state::{Flags, Half, StreamEnd, StreamState};
pub(crate) use stream::HttpStream;
pub(crate) use stream::abort;
pub use stream::{Recv, ResponseHead};
pub(crate) use validate::{is_hop_by_hop, validate_request, validate_response, validate_trailers};
