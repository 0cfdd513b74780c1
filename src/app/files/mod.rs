//! Static files: from a URL path to an open file ([`FileRoot`]), and from an open file and the request's headers to the
//! response's status, headers and byte range ([`plan()`]).
//!
//! Nothing here knows about connections or streams. A handler looks the path up, asks for the plan, sends its headers and
//! then [`FileEntry::read_at`] over [`FilePlan::body`] as fast as the stream takes the bytes.

mod cache;
mod plan;

pub use cache::{FileCacheConfig, FileEntry, FileRoot, LookupError};
pub use plan::{FilePlan, plan};

#[cfg(test)]
mod tests;
