//! Limits on the heads of HTTP messages.

use super::check;
use crate::error::ConfigError;

/// Limits on a request's head and its trailers, at the level of nginx. A request whose head exceeds one gets the status
/// given here (RFC 6585 section 5, RFC 9110 section 15.5.15) with a text that names the field, its size and the limit; the
/// connection stays open. Trailers over a limit reset the stream with H3_EXCESSIVE_LOAD.
///
/// The crumbs of a cookie (RFC 9114 section 4.2.1) are joined first, and count as one field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Fields, without pseudo-header fields, 1 to 10 000; more get 431. Each takes some 200 bytes of memory besides its
    /// text. Default: 200.
    pub max_fields: usize,
    /// Bytes of a field name; more get 431. Default: 256.
    pub max_name: usize,
    /// Bytes of a field value; more get 431. Default: 16 KiB.
    pub max_value: usize,
    /// Bytes of the field section as RFC 9114 section 4.2.2 counts them (32 more per field), 1 to 1 MiB; more get 431.
    /// A connection may be made to hold three times as much for each of its
    /// [requests](crate::TransportConfig::max_streams_bidi). Default: 32 KiB.
    pub max_field_section: usize,
    /// Bytes of the request target; more get 414. RFC 9110 section 4.1 recommends at least 8000. Default: 8 KiB.
    pub max_target: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        RequestLimits {
            max_fields: 200,
            max_name: 256,
            max_value: 16 * 1024,
            max_field_section: 32 * 1024,
            max_target: 8 * 1024,
        }
    }
}

/// Limits on a response's heads and its trailers, at the level of curl. A response over one fails with a
/// [`Violation`](crate::Violation) that names the field, its size and the limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseLimits {
    /// Fields, without `:status`, 1 to 10 000. Default: 5000.
    pub max_fields: usize,
    /// Bytes of a field name. Default: 1024.
    pub max_name: usize,
    /// Bytes of a field value. Default: 100 KiB.
    pub max_value: usize,
    /// Bytes of the field section as RFC 9114 section 4.2.2 counts them (32 more per field), 1 to 1 MiB. Default: 300 KiB.
    pub max_field_section: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        ResponseLimits { max_fields: 5000, max_name: 1024, max_value: 100 * 1024, max_field_section: 300 * 1024 }
    }
}

/// The largest response head in bytes, each field counted with 32 bytes more (RFC 9114 section 4.2.2). quiche writes a
/// head in one piece, and one larger than the congestion window would never be sent (quiche issue 1573).
pub const MAX_RESPONSE_HEAD: usize = 12 * 1024;

/// Paths that a connection has at a time, and connection ids that it accepts from its peer.
pub(crate) const MAX_PATHS: usize = 16;

/// Fields of a section that the `http` crate's map holds without trouble.
const MOST_FIELDS: usize = 10_000;
/// The largest field section that can be allowed.
const LARGEST_SECTION: usize = 1024 * 1024;
/// The smallest `SETTINGS_MAX_FIELD_SECTION_SIZE` that is sent.
const SMALLEST_SETTING: usize = 64 * 1024;

/// The limits on the heads that are received: a server's on requests, a client's on responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) max_fields: usize,
    pub(crate) max_name: usize,
    pub(crate) max_value: usize,
    pub(crate) max_field_section: usize,
    /// Only of requests.
    pub(crate) max_target: usize,
}

impl HeadLimits {
    /// `SETTINGS_MAX_FIELD_SECTION_SIZE`. quiche closes the whole connection when a peer exceeds it, so it is larger than
    /// the limit, which leaves room to answer 431, and for the crumbs of cookies.
    pub(super) fn setting(&self) -> u64 {
        (2 * self.max_field_section).max(SMALLEST_SETTING) as u64
    }

    fn check(&self, names: [&'static str; 5]) -> Result<(), ConfigError> {
        let [fields, name, value, section, target] = names;
        let fits = (1..=MOST_FIELDS).contains(&self.max_fields);
        check::range(fields, self.max_fields as u64, fits, "1 to 10000 fields")?;
        check::at_least_one(name, self.max_name)?;
        check::at_least_one(value, self.max_value)?;
        check::at_least_one(target, self.max_target)?;
        let fits = (1..=LARGEST_SECTION).contains(&self.max_field_section);
        check::range(section, self.max_field_section as u64, fits, "1 to 1048576 bytes")
    }
}

impl RequestLimits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        HeadLimits::from(self).check([
            "request_limits.max_fields",
            "request_limits.max_name",
            "request_limits.max_value",
            "request_limits.max_field_section",
            "request_limits.max_target",
        ])
    }
}

impl ResponseLimits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        HeadLimits::from(self).check([
            "response_limits.max_fields",
            "response_limits.max_name",
            "response_limits.max_value",
            "response_limits.max_field_section",
            "",
        ])
    }
}

impl From<&RequestLimits> for HeadLimits {
    fn from(limits: &RequestLimits) -> Self {
        let &RequestLimits { max_fields, max_name, max_value, max_field_section, max_target } = limits;
        HeadLimits { max_fields, max_name, max_value, max_field_section, max_target }
    }
}

impl From<&ResponseLimits> for HeadLimits {
    fn from(limits: &ResponseLimits) -> Self {
        let &ResponseLimits { max_fields, max_name, max_value, max_field_section } = limits;
        HeadLimits { max_fields, max_name, max_value, max_field_section, max_target: usize::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_limits_are_named() {
        type Set = fn(&mut RequestLimits);
        let cases: [(Set, Option<&str>); 6] = [
            (|l| l.max_field_section = 1 << 20, None),
            (
                |l| l.max_field_section = (1 << 20) + 1,
                Some("request_limits.max_field_section is 1048577, but must be 1 to 1048576 bytes"),
            ),
            (|l| l.max_fields = 10_000, None),
            (|l| l.max_fields = 10_001, Some("request_limits.max_fields is 10001, but must be 1 to 10000 fields")),
            (|l| l.max_value = 0, Some("request_limits.max_value is 0, but must be at least 1")),
            (|l| l.max_target = 0, Some("request_limits.max_target is 0, but must be at least 1")),
        ];
        for (set, told) in cases {
            let mut limits = RequestLimits::default();
            set(&mut limits);
            assert_eq!(limits.check().err().map(|e| e.to_string()).as_deref(), told);
        }
        let limits = ResponseLimits { max_name: 0, ..ResponseLimits::default() };
        assert_eq!(limits.check().unwrap_err().to_string(), "response_limits.max_name is 0, but must be at least 1");
        assert!(ResponseLimits::default().check().is_ok());
    }

    #[test]
    fn the_setting_leaves_room_to_answer() {
        let setting = |section| {
            HeadLimits::from(&RequestLimits { max_field_section: section, ..RequestLimits::default() }).setting()
        };
        assert_eq!((setting(1000), setting(32 * 1024), setting(1 << 20)), (65_536, 65_536, 2 << 20));
        assert_eq!(HeadLimits::from(&ResponseLimits::default()).setting(), 600 * 1024);
    }
}
