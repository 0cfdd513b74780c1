//! Content codings (RFC 9110 section 8.4.1) and what a client accepts of them (section 12.5.3).

use std::io::{self, Write};

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// Level of gzip: a good ratio of time to size.
const GZIP_LEVEL: u32 = 6;
/// Quality of brotli, of 11: about as fast as gzip, and its result is a sixth shorter.
const BROTLI_QUALITY: u32 = 5;
/// The base-2 logarithm of brotli's window.
const BROTLI_WINDOW: u32 = 22;

/// A content coding, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::app) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub(super) const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// The token of `content-encoding`.
    pub(in crate::app) fn token(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }

    /// What the name of a compressed file ends in.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Zstd => ".zst",
            Coding::Gzip => ".gz",
        }
    }

    fn of_token(token: &str) -> Option<Self> {
        match token.to_ascii_lowercase().as_str() {
            "br" => Some(Coding::Brotli),
            "zstd" => Some(Coding::Zstd),
            // RFC 9110 section 8.4.1.3.
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            _ => None,
        }
    }

    /// Encodes `content`; `None` for a coding that is not made here.
    pub(super) fn encode(self, content: &[u8]) -> Option<io::Result<Vec<u8>>> {
        let capacity = content.len() / 2;
        match self {
            Coding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(capacity), level);
                Some(encoder.write_all(content).and_then(|()| encoder.finish()))
            }
            Coding::Brotli => {
                let buffer = 4096;
                let mut encoder =
                    brotli::CompressorWriter::new(Vec::with_capacity(capacity), buffer, BROTLI_QUALITY, BROTLI_WINDOW);
                Some(encoder.write_all(content).map(|()| encoder.into_inner()))
            }
            Coding::Zstd => None,
        }
    }
}

/// The codings that a client prefers to the content as it is, most welcome first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::app) struct Accepted(Vec<Coding>);

impl Accepted {
    /// By `accept-encoding`. A malformed element is skipped; of equal weights, the better coding comes first.
    pub(in crate::app) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut weights = [None; Coding::ALL.len()];
        let (mut others, mut identity) = (None, None);
        for (token, weight) in values.flat_map(|value| value.split(',')).filter_map(weighted) {
            match Coding::of_token(token) {
                Some(coding) => weights[coding as usize] = Some(weight),
                None if token == "*" => others = Some(weight),
                None if token.eq_ignore_ascii_case("identity") => identity = Some(weight),
                None => {}
            }
        }
        // Not named, the content as it is is acceptable, and anything acceptable is preferred to it.
        let least = identity.unwrap_or(0).max(1);
        let mut accepted: Vec<(u16, Coding)> = Coding::ALL
            .into_iter()
            .filter_map(|coding| Some((weights[coding as usize].or(others)?, coding)))
            .filter(|(weight, _)| *weight >= least)
            .collect();
        // Stable.
        accepted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Accepted(accepted.into_iter().map(|(_, coding)| coding).collect())
    }

    /// Encodes content by the first coding that is made here and makes it shorter.
    pub(in crate::app) fn encode(&self, content: &[u8]) -> Option<(&'static str, Vec<u8>)> {
        self.iter().find_map(|coding| {
            let encoded = coding.encode(content)?.ok()?;
            (encoded.len() < content.len()).then_some((coding.token(), encoded))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Coding> {
        self.0.iter().copied()
    }
}

/// A token and its weight in thousandths (RFC 9110 section 12.4.2); `None` if that is malformed.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let (token, parameter) = match element.split_once(';') {
        Some((token, parameter)) => (token, Some(parameter.trim())),
        None => (element, None),
    };
    let weight = match parameter {
        None => 1000,
        Some(parameter) => {
            let (name, value) = parameter.split_once('=')?;
            if !name.eq_ignore_ascii_case("q") {
                return None;
            }
            thousandths(value)?
        }
    };
    Some((token.trim(), weight))
}

/// `0` or `1` with at most three decimals, at most 1.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if !matches!(whole, "0" | "1") || decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = format!("{whole}{decimals:0<3}").parse().ok()?;
    (value <= 1000).then_some(value)
}

/// Whether content of this media type becomes much shorter.
pub(super) fn is_compressible(content_type: &HeaderValue) -> bool {
    let value = content_type.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || matches!(
            essence,
            "application/javascript"
                | "application/json"
                | "application/toml"
                | "application/wasm"
                | "application/x-ndjson"
                | "application/xml"
                | "application/x-sh"
                | "application/x-yaml"
                | "application/yaml"
                | "application/sql"
                | "application/vnd.ms-fontobject"
                | "font/otf"
                | "font/ttf"
                | "image/bmp"
                | "image/x-icon"
        )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn accepted(values: &[&str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Accepted::of(&headers).iter().map(Coding::token).collect()
    }

    #[test]
    fn weights_decide_and_then_the_better_coding() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", &["br", "zstd", "gzip"][..]),
            ("gzip", &["gzip"]),
            ("X-GZIP", &["gzip"]),
            ("gzip;q=1.0, br;q=0.5", &["gzip", "br"]),
            ("gzip; q=0.001 ,br ; Q=0.002", &["br", "gzip"]),
            ("br;q=0, gzip", &["gzip"]),
            ("br;q=0.000, *", &["zstd", "gzip"]),
            ("*;q=0.5, zstd", &["zstd", "br", "gzip"]),
            ("*;q=0, gzip", &["gzip"]),
            ("identity", &[]),
            ("identity;q=0.5, gzip;q=0.4, br;q=0.5", &["br"]),
            ("identity;q=0, gzip;q=0.1", &["gzip"]),
            ("deflate, compress", &[]),
            ("", &[]),
            (",,", &[]),
            // Malformed.
            ("gzip;q=2", &[]),
            ("gzip;q=-1", &[]),
            ("gzip;q=1.001", &[]),
            ("gzip;q=0.0001", &[]),
            ("gzip;q=", &[]),
            ("gzip;x=1", &[]),
            ("gzip;q=a, br", &["br"]),
            ("br gzip", &[]),
        ] {
            assert_eq!(accepted(&[value]), expected, "{value:?}");
        }
        assert_eq!(accepted(&["br;q=0.1", "gzip"]), ["gzip", "br"]);
        assert_eq!(accepted(&[]), [""; 0]);
    }

    #[test]
    fn what_is_encoded_decodes() {
        let text = b"some text that repeats, ".repeat(1000);
        let gzip = Coding::Gzip.encode(&text).unwrap().unwrap();
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded, text);
        let brotli = Coding::Brotli.encode(&text).unwrap().unwrap();
        decoded.clear();
        brotli::Decompressor::new(&brotli[..], 4096).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded, text);
        assert!(gzip.len() < 300 && brotli.len() < gzip.len(), "{} {}", gzip.len(), brotli.len());
        assert!(Coding::Zstd.encode(&text).is_none());
    }

    #[test]
    fn texts_are_compressible_and_pictures_are_not() {
        for (content_type, expected) in [
            ("text/html; charset=utf-8", true),
            ("application/json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("video/mp4", false),
            ("font/woff2", false),
        ] {
            assert_eq!(is_compressible(&HeaderValue::from_static(content_type)), expected, "{content_type}");
        }
    }
}
