//! Static files: from a URL path to an open file ([`FileRoot`]), and from an open file and the request's headers to the
//! response's status, headers and byte range ([`plan()`]).
//!
//! Nothing here knows about connections or streams. A handler looks the path up, asks for the plan, sends its headers and
//! then [`FileEntry::read_at`] over [`FilePlan::body`] as fast as the stream takes the bytes.

mod cache;
mod coding;
mod compressed;
mod entry;
mod listing;
mod listing_page;
mod lookup_error;
mod plan;

pub(in crate::app) use cache::{File, Form, Known};
pub use cache::{FileCacheConfig, FileRoot};
pub(in crate::app) use coding::Accepted;
pub use entry::FileEntry;
pub(in crate::app) use listing::{Listing, Listings, Order};
pub(in crate::app) use listing_page::{html, json};
pub use lookup_error::LookupError;
pub use plan::{FilePlan, plan};

#[cfg(test)]
mod tests;
