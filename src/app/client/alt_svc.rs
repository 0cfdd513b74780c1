//! Alternative services (RFC 7838): other addresses that a server names for itself.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::ALT_SVC;
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::request::Origin;

/// RFC 7838 section 3.1: validity of an alternative without `ma`.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// A year, in seconds: longer ones are truncated.
const MAX_AGE: i64 = 365 * 24 * 60 * 60;
/// Time after which a failed alternative is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(300);
/// Alternatives of an origin; further ones are ignored.
const MAX_PER_ORIGIN: usize = 8;
/// Origins with alternatives; further ones are not remembered.
const MAX_ORIGINS: usize = 1000;

/// Another address at which a server speaks HTTP/3 (RFC 7838).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltService {
    /// The origin's host, as in the URL.
    pub origin_host: String,
    /// The origin's port.
    pub origin_port: u16,
    /// The host to connect to instead. Its certificate must still be for the origin's host.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// When it expires.
    pub expires: SystemTime,
    /// Whether it stays valid after a change of networks.
    pub persist: bool,
}

#[derive(Clone, Debug)]
struct Known {
    target: Origin,
    expires: SystemTime,
    persist: bool,
    retry_after: Option<Instant>,
}

/// The alternatives of each origin, the server's favourite first.
#[derive(Debug, Default)]
pub(crate) struct AltServices(HashMap<Origin, Vec<Known>>);

impl AltServices {
    /// Learns alternatives from a response whose server is authoritative for the origin.
    pub(crate) fn learn(&mut self, origin: &Origin, headers: &HeaderMap, wall: SystemTime) {
        if !headers.contains_key(ALT_SVC) {
            return;
        }
        let fields: Vec<&[u8]> = headers.get_all(ALT_SVC).iter().map(|value| value.as_bytes()).collect();
        let Some(found) = parse(&fields.join(&b", "[..]), origin, wall) else { return };
        // RFC 7838 section 3: the new ones replace all known ones.
        let old = self.0.remove(origin).unwrap_or_default();
        let retry_after = |target: &Origin| old.iter().find(|known| known.target == *target)?.retry_after;
        let new: Vec<_> =
            found.into_iter().map(|known| Known { retry_after: retry_after(&known.target), ..known }).collect();
        if !new.is_empty() && self.0.len() < MAX_ORIGINS {
            log::debug!("{origin}: alternatives {:?}", new.iter().map(|a| a.target.to_string()).collect::<Vec<_>>());
            self.0.insert(origin.clone(), new);
        }
    }

    /// Where to connect to for an origin, if not to the origin itself.
    pub(crate) fn choose(&self, origin: &Origin, now: Instant, wall: SystemTime) -> Option<&Origin> {
        let usable = |a: &&Known| a.expires > wall && a.retry_after.is_none_or(|until| until <= now);
        self.0.get(origin)?.iter().find(usable).map(|a| &a.target).filter(|target| *target != origin)
    }

    /// An alternative failed.
    pub(crate) fn suspend(&mut self, origin: &Origin, target: &Origin, now: Instant) {
        log::debug!("{origin}: alternative {target} is suspended");
        for known in self.0.get_mut(origin).into_iter().flatten().filter(|a| a.target == *target) {
            known.retry_after = Some(now + RETRY_AFTER);
        }
    }

    /// An alternative is invalid (RFC 7838 section 6).
    pub(crate) fn forget(&mut self, origin: &Origin, target: &Origin) {
        if let Some(all) = self.0.get_mut(origin) {
            all.retain(|a| a.target != *target);
        }
    }

    pub(crate) fn add(&mut self, service: AltService) {
        let AltService { origin_host, origin_port, host, port, expires, persist } = service;
        let all = self.0.entry(Origin { host: origin_host, port: origin_port }).or_default();
        if all.len() < MAX_PER_ORIGIN {
            all.push(Known { target: Origin { host, port }, expires, persist, retry_after: None });
        }
    }

    pub(crate) fn list(&self, wall: SystemTime) -> Vec<AltService> {
        let mut list: Vec<_> = self.0.iter().collect();
        list.sort_by_key(|(origin, _)| *origin);
        let service = |origin: &Origin, known: &Known| AltService {
            origin_host: origin.host.clone(),
            origin_port: origin.port,
            host: known.target.host.clone(),
            port: known.target.port,
            expires: known.expires,
            persist: known.persist,
        };
        let holds = list.into_iter().flat_map(|(origin, all)| all.iter().map(move |known| service(origin, known)));
        holds.filter(|service| service.expires > wall).collect()
    }
}

/// The HTTP/3 alternatives of an `alt-svc` field; none after `clear`. `None` if it cannot be parsed at all.
fn parse(field: &[u8], origin: &Origin, wall: SystemTime) -> Option<Vec<Known>> {
    let mut found = None;
    for entry in split(field) {
        // Not defined as a structured field, but each entry is one: protocol="host:port"; ma=1; persist=1
        let Ok(entry) = Parser::new(entry).parse::<Dictionary>() else { continue };
        let Some((protocol, ListEntry::Item(item))) = entry.first() else { continue };
        if protocol.as_str() == "clear" {
            return Some(Vec::new());
        }
        let known = Some(item).filter(|_| protocol.as_str() == "h3").and_then(|item| alternative(item, origin, wall));
        found.get_or_insert_with(Vec::new).extend(known);
    }
    let mut found = found?;
    found.truncate(MAX_PER_ORIGIN);
    Some(found)
}

/// The entries, split at commas outside of quotes.
fn split(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    field.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
}

fn alternative(item: &Item, origin: &Origin, wall: SystemTime) -> Option<Known> {
    let (host, port) = item.bare_item.as_string()?.as_str().rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let number = |name: &str| match item.params.get(name) {
        Some(BareItem::Integer(n)) => Some(i64::from(*n)),
        _ => None,
    };
    let age = number("ma").map_or(DEFAULT_MAX_AGE, |age| Duration::from_secs(age.clamp(0, MAX_AGE).unsigned_abs()));
    let host = if host.is_empty() { origin.host.clone() } else { host.to_ascii_lowercase() };
    Some(Known {
        target: Origin { host, port: port.parse().ok()? },
        expires: wall + age,
        persist: number("persist") == Some(1),
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn origin(host: &str, port: u16) -> Origin {
        Origin { host: host.to_owned(), port }
    }

    fn headers(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (ALT_SVC, HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn fields_in_use() {
        let (home, wall) = (origin("example.com", 443), SystemTime::UNIX_EPOCH);
        let targets = |field: &str| {
            let found = parse(field.as_bytes(), &home, wall)?;
            let age = |a: &Known| a.expires.duration_since(wall).expect("later").as_secs();
            Some(found.iter().map(|a| (a.target.to_string(), age(a), a.persist)).collect::<Vec<_>>())
        };
        let at = |target: &str, age, persist| Some(vec![(target.to_owned(), age, persist)]);
        assert_eq!(targets("h3=\":443\"; ma=3600, h3-29=\":443\"; ma=3600"), at("example.com:443", 3600, false));
        assert_eq!(targets("h2=\"a:1\", h3=\"Alt.Example:8443\";ma=5;persist=1"), at("alt.example:8443", 5, true));
        assert_eq!(targets("h3=\"[2001:db8::1]:1\""), at("[2001:db8::1]:1", 86400, false));
        assert_eq!(targets("h3=\":1\"; ma=999999999999"), at("example.com:1", 31_536_000, false));
        assert_eq!(targets("q=\":1\"; v=\"46,43\",h3=\":1\"; ma=5, what?"), at("example.com:1", 5, false));
        assert_eq!(targets("h3=\":1\"; ma=-5"), at("example.com:1", 0, false));
        for nothing in ["clear", "h2=\":443\"", "h3=\":0x1\"", "h3=\"nothing\"", "h3=443", "h3"] {
            assert_eq!(targets(nothing), Some(Vec::new()), "{nothing}");
        }
        for unreadable in ["h3=:443", "=", "h3=\":443\" ma", "\u{0}"] {
            assert_eq!(targets(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn what_is_said_last_holds() {
        let (home, now, wall) = (origin("example.com", 443), crate::net::now(), SystemTime::UNIX_EPOCH);
        let mut all = AltServices::default();
        let chosen = |all: &AltServices, wall| all.choose(&home, now, wall).map(Origin::to_string);
        all.learn(&home, &headers(&["h3=\"a:1\"; ma=10", "h3=\"b:2\"; ma=20"]), wall);
        assert_eq!(chosen(&all, wall).as_deref(), Some("a:1"));
        assert_eq!(chosen(&all, wall + Duration::from_secs(10)).as_deref(), Some("b:2"));
        assert_eq!(chosen(&all, wall + Duration::from_secs(20)), None);
        all.suspend(&home, &origin("a", 1), now);
        assert_eq!(chosen(&all, wall).as_deref(), Some("b:2"));
        all.suspend(&home, &origin("b", 2), now);
        assert_eq!(chosen(&all, wall), None);
        // Advertised again, it is still suspended.
        all.learn(&home, &headers(&["h3=\"b:2\""]), wall);
        assert_eq!(chosen(&all, wall), None);
        assert!(all.choose(&home, now + RETRY_AFTER, wall).is_some());
        all.learn(&home, &headers(&["nonsense="]), wall);
        assert_eq!(all.list(wall).len(), 1, "what cannot be read changes nothing");
        all.learn(&home, &headers(&["h3=\":443\""]), wall);
        assert_eq!(chosen(&all, wall), None, "the origin itself is no detour");
        all.learn(&home, &headers(&["clear"]), wall);
        assert_eq!(all.list(wall), []);
        all.learn(&home, &headers(&["h3=\"c:3\""]), wall);
        all.forget(&home, &origin("c", 3));
        assert_eq!(chosen(&all, wall), None);
    }
}
