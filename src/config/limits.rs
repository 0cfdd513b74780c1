//! Limits on the heads of HTTP messages.

use super::check;
use crate::error::ConfigError;

/// Limits on a request's head. A request over a limit gets the status given here (RFC 6585 section 5, RFC 9110 section
/// 15.5.15); the connection stays open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Fields, without pseudo-header fields; more get 431. Default: 100.
    pub max_fields: usize,
    /// Bytes of a field name; more get 431. Default: 256.
    pub max_name: usize,
    /// Bytes of a field value; more get 431. Default: 8192.
    pub max_value: usize,
    /// Bytes of the field section as RFC 9114 section 4.2.2 counts them (32 more per field), 1 to 65536; more get 431.
    /// Default: 16 KiB.
    pub max_field_section: usize,
    /// Bytes of the request target; more get 414. Default: 2048.
    pub max_target: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            max_fields: 100,
            max_name: 256,
            max_value: 8192,
            max_field_section: 16 * 1024,
            max_target: 2048,
        }
    }
}

/// The largest response head in bytes, each field counted with 32 bytes more (RFC 9114 section 4.2.2). quiche writes a
/// head in one piece, and one larger than the congestion window would never be sent (quiche issue 1573).
pub const MAX_RESPONSE_HEAD: usize = 12 * 1024;

/// Paths that a connection has at a time, and connection ids that it accepts from its peer.
pub(crate) const MAX_PATHS: usize = 8;

/// `SETTINGS_MAX_FIELD_SECTION_SIZE` as quiche sends it. quiche closes the whole connection when a peer exceeds it, so it
/// is larger than [`RequestLimits::max_field_section`], which leaves room to answer 431.
pub(super) const MAX_FIELD_SECTION: u64 = 64 * 1024;

impl RequestLimits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check::at_least_one("request_limits.max_fields", self.max_fields)?;
        check::at_least_one("request_limits.max_name", self.max_name)?;
        check::at_least_one("request_limits.max_value", self.max_value)?;
        check::at_least_one("request_limits.max_target", self.max_target)?;
        let section = self.max_field_section as u64;
        let fits = (1..=MAX_FIELD_SECTION).contains(&section);
        check::range("request_limits.max_field_section", section, fits, "1 to 65536 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_section_is_within_what_quiche_takes() {
        let mut limits = RequestLimits::default();
        assert!(limits.check().is_ok());
        limits.max_field_section = 65536;
        assert!(limits.check().is_ok());
        limits.max_field_section = 65537;
        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "request_limits.max_field_section is 65537, but must be 1 to 65536 bytes");
        limits = RequestLimits { max_target: 0, ..RequestLimits::default() };
        assert_eq!(limits.check().unwrap_err().to_string(), "request_limits.max_target is 0, but must be at least 1");
    }
}
