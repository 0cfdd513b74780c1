//! Extensible priorities (RFC 9218).

use crate::transport::URGENCY_OFFSET;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// How urgent a response is (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0, the most urgent, to 7. Default: 3.
    pub urgency: u8,
    /// Whether parts of the response are useful already, so that it may share the bandwidth with others of its
    /// urgency.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Priority { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Parses a `priority` field or the payload of a PRIORITY_UPDATE frame. A missing or out-of-range member takes
    /// its default (RFC 9218 section 4); `None` if the value is not a Structured Fields dictionary.
    pub fn parse(value: &[u8]) -> Option<Priority> {
        let fields: Dictionary = Parser::new(value).parse().ok()?;
        let mut priority = Priority::default();
        if let Some(ListEntry::Item(item)) = fields.get("u")
            && let BareItem::Integer(urgency) = item.bare_item
            && let Ok(urgency @ 0..=7) = u8::try_from(i64::from(urgency))
        {
            priority.urgency = urgency;
        }
        if let Some(ListEntry::Item(item)) = fields.get("i")
            && let BareItem::Boolean(incremental) = item.bare_item
        {
            priority.incremental = incremental;
        }
        Some(priority)
    }

    /// Urgency and incremental flag in quiche's form.
    pub(crate) fn for_quiche(self) -> (u8, bool) {
        (URGENCY_OFFSET + self.urgency.min(7), self.incremental)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_rfc_9218_says() {
        let parse = |v: &str| Priority::parse(v.as_bytes()).map(|p| (p.urgency, p.incremental));
        assert_eq!(parse(""), Some((3, false)));
        assert_eq!(parse("u=0"), Some((0, false)));
        assert_eq!(parse("u=7, i"), Some((7, true)));
        assert_eq!(parse("i=?0, u=5"), Some((5, false)));
        assert_eq!(parse("u=8"), Some((3, false)), "out of range counts as missing");
        assert_eq!(parse("u=-1, i=1"), Some((3, false)));
        assert_eq!(parse("u=1, x=?1;p=\"q\", y=(1 2)"), Some((1, false)), "unknown members are ignored");
        assert_eq!(parse("u=1,,"), None);
        assert_eq!(parse("\u{e9}"), None);
    }
}
