//! One request and its response on quiche's HTTP/3: validation, bodies in and out, trailers, priorities.

mod authority;
mod followups;
mod form;
mod head;
mod path;
mod plain_response;
mod priority;
mod request;
mod state;
mod stream;
mod validate;

pub(crate) use followups::Followups;
#[cfg(all(feature = "admin", feature = "demo"))]
pub(crate) use form::values as form_values;
pub(crate) use form::{FormError, parse as parse_form};
pub(crate) use head::decimal;
pub use head::{Recv, ResponseHead};
pub(crate) use path::{normalize, normalize_segments};
pub(crate) use plain_response::{TEXT_PLAIN, is_known_method, plain_response};
pub use priority::Priority;
pub use request::Request;
pub(crate) use state::{Half, RequestState, StreamEnd};
pub(crate) use stream::{HttpStream, field};
pub(crate) use validate::{is_hop_by_hop, validate_request, validate_response, validate_trailers};
