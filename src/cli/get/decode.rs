//! `--compressed`: content codings (RFC 9110 section 8.4.1), in bounded memory.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::rc::Rc;

use brotli::Decompressor;
use bytes::{Buf, Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::FrameDecoder;

/// What is asked for, as by curl.
pub(super) const ACCEPTED: &str = "deflate, gzip, br, zstd";

/// Bytes decoded per call.
const CHUNK: usize = 64 * 1024;
/// Codings of one body.
const MAX_CODINGS: usize = 5;
/// RFC 9659 section 3.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;

/// The body of a response as it was before it was encoded.
pub(super) struct Decoder {
    feed: Feed,
    decoded: Box<dyn Read>,
    has_ended: bool,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// What a decoder has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Bytes(Bytes),
    /// More of the body is needed.
    Hungry,
    /// What follows the encoded content is none of it.
    End,
}

impl Decoder {
    /// For the value of `content-encoding`. `None` if there is nothing to decode.
    ///
    /// # Errors
    /// A coding that is not known, or too many.
    pub(super) fn new(codings: &str) -> Result<Option<Self>, String> {
        let names: Vec<_> = codings.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let is_coding = |name: &&String| !["", "identity", "none"].contains(&name.as_str());
        let names: Vec<_> = names.iter().filter(is_coding).collect();
        if names.is_empty() {
            return Ok(None);
        }
        if names.len() > MAX_CODINGS {
            return Err(format!("the body is encoded {} times, but {MAX_CODINGS} is the most", names.len()));
        }
        let feed = Feed::default();
        let mut decoded: Box<dyn Read> = Box::new(feed.clone());
        for name in names.into_iter().rev() {
            decoded = match name.as_str() {
                "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(decoded)),
                "deflate" => Box::new(Deflate::Unknown { from: Some(decoded), head: Vec::new() }),
                "br" => Box::new(Decompressor::new(decoded, CHUNK)),
                "zstd" => Box::new(Zstd::new(decoded)),
                other => return Err(format!("the coding '{other}' is not known ({ACCEPTED} are)")),
            };
        }
        Ok(Some(Decoder { feed, decoded, has_ended: false }))
    }

    /// Adds bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.feed.0.borrow_mut().bytes.extend_from_slice(bytes);
    }

    /// The body has no more bytes. True the first time.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.feed.0.borrow_mut().ended, true)
    }

    /// The next decoded bytes.
    ///
    /// # Errors
    /// Content that is not what it should be.
    pub(super) fn next(&mut self) -> Result<Decoded, String> {
        if self.has_ended {
            self.feed.0.borrow_mut().bytes.clear();
            return Ok(Decoded::End);
        }
        let mut buf = vec![0; CHUNK];
        loop {
            match self.decoded.read(&mut buf) {
                Ok(0) => {
                    self.has_ended = true;
                    return Ok(Decoded::End);
                }
                Ok(n) => {
                    buf.truncate(n);
                    return Ok(Decoded::Bytes(buf.into()));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Decoded::Hungry),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err("it ends too early".to_owned()),
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}

/// The encoded bytes that have come, and are not decoded yet.
#[derive(Clone, Default)]
struct Feed(Rc<RefCell<Fed>>);

#[derive(Default)]
struct Fed {
    bytes: BytesMut,
    ended: bool,
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut fed = self.0.borrow_mut();
        if fed.bytes.is_empty() && !fed.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = buf.len().min(fed.bytes.len());
        buf[..n].copy_from_slice(&fed.bytes[..n]);
        fed.bytes.advance(n);
        Ok(n)
    }
}

/// The first bytes, which were looked at, and the rest.
type Whole = io::Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

/// `deflate` is the zlib format (RFC 9110 section 8.4.1.2), but some servers send it without that.
enum Deflate {
    Unknown { from: Option<Box<dyn Read>>, head: Vec<u8> },
    Zlib(ZlibDecoder<Whole>),
    Raw(DeflateDecoder<Whole>),
}

impl Read for Deflate {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Deflate::Zlib(zlib) => return zlib.read(buf),
                Deflate::Raw(raw) => return raw.read(buf),
                Deflate::Unknown { from, head } => {
                    let Some(reader) = from else { return Ok(0) };
                    let mut byte = [0];
                    while head.len() < 2 && reader.read(&mut byte)? > 0 {
                        head.push(byte[0]);
                    }
                    // RFC 1950 section 2.2.
                    let is_zlib = head.len() == 2
                        && head[0] & 0x0f == 8
                        && u16::from_be_bytes([head[0], head[1]]).is_multiple_of(31);
                    let Some(reader) = from.take() else { return Ok(0) };
                    let all = Read::chain(Cursor::new(std::mem::take(head)), reader);
                    *self = if is_zlib {
                        Deflate::Zlib(ZlibDecoder::new(all))
                    } else {
                        Deflate::Raw(DeflateDecoder::new(all))
                    };
                }
            }
        }
    }
}

/// Decodes block by block, so that no more than a window and a block are in memory (RFC 8878).
struct Zstd {
    from: Box<dyn Read>,
    frame: FrameDecoder,
    /// A part of a header or of a block.
    pending: Vec<u8>,
    /// In a frame: whether it ends with a checksum.
    checksum: Option<bool>,
}

impl Zstd {
    fn new(from: Box<dyn Read>) -> Self {
        Zstd { from, frame: FrameDecoder::new(), pending: Vec::new(), checksum: None }
    }

    /// Reads until so many bytes are pending. False at the end.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.pending.len() < length {
            let at = self.pending.len();
            self.pending.resize(length, 0);
            let got = self.from.read(&mut self.pending[at..]);
            self.pending.truncate(at + *got.as_ref().unwrap_or(&0));
            if got? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// False if there is no further frame.
    fn begin(&mut self) -> io::Result<bool> {
        if !self.fill(5)? {
            return if self.pending.is_empty() { Ok(false) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        let descriptor = self.pending[4];
        let single = usize::from(descriptor >> 5 & 1);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = match descriptor >> 6 {
            0 => single,
            other => 1 << other,
        };
        if !self.fill(5 + (1 - single) + dictionary + size)? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if window(&self.pending, single == 1, dictionary) > MAX_ZSTD_WINDOW {
            return Err(io::Error::other("a zstd window of more than 8 MiB"));
        }
        self.frame.reset(&mut &self.pending[..]).map_err(|e| io::Error::other(e.to_string()))?;
        self.pending.clear();
        self.checksum = Some(descriptor >> 2 & 1 == 1);
        Ok(true)
    }

    /// Decodes a block.
    fn block(&mut self, checksum: bool) -> io::Result<()> {
        let all = self.fill(3)?;
        let header = match &self.pending[..] {
            [a, b, c, ..] if all => u32::from_le_bytes([*a, *b, *c, 0]),
            _ => return Err(ErrorKind::UnexpectedEof.into()),
        };
        let (is_last, is_run) = (header & 1 == 1, header >> 1 & 3 == 1);
        let size = if is_run { 1 } else { (header >> 3) as usize };
        if size > 128 * 1024 {
            return Err(io::Error::other("a zstd block of more than 128 KiB"));
        }
        if !self.fill(3 + size + if is_last && checksum { 4 } else { 0 })? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.frame.decode_from_to(&self.pending, &mut []).map_err(|e| io::Error::other(e.to_string()))?;
        self.pending.clear();
        Ok(())
    }
}

/// The size of the window that a frame's header asks for (RFC 8878 section 3.1.1.1).
fn window(header: &[u8], single: bool, dictionary: usize) -> u64 {
    if single {
        let mut size = [0; 8];
        let field = &header[5 + dictionary..];
        size[..field.len()].copy_from_slice(field);
        return u64::from_le_bytes(size);
    }
    let base = 1_u64 << (10 + (header[5] >> 3));
    base + base / 8 * u64::from(header[5] & 7)
}

impl Read for Zstd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(checksum) = self.checksum {
                let n = self.frame.read(buf)?;
                if n > 0 {
                    return Ok(n);
                }
                if self.frame.is_finished() {
                    self.checksum = None;
                } else {
                    self.block(checksum)?;
                }
            } else if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    /// Decodes a body that comes in pieces of this size.
    fn decode(coding: &str, body: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut decoder = Decoder::new(coding)?.expect("a coding");
        let mut all = Vec::new();
        for piece in body.chunks(piece) {
            decoder.push(piece);
            while let Decoded::Bytes(bytes) = decoder.next()? {
                all.extend_from_slice(&bytes);
            }
        }
        decoder.end();
        loop {
            match decoder.next()? {
                Decoded::End => return Ok(all),
                Decoded::Bytes(bytes) => all.extend_from_slice(&bytes),
                Decoded::Hungry => panic!("hungry at the end"),
            }
        }
    }

    fn text() -> Vec<u8> {
        (0..30_000_u32).flat_map(|n| format!("line {}\n", n * n % 997).into_bytes()).collect()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(data).expect("memory");
        gzip.finish().expect("memory")
    }

    #[test]
    fn in_pieces_of_any_size() {
        let text = text();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).expect("memory");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).expect("memory");
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        let two = [gzip(&text[..1000]), gzip(&text[1000..])].concat();
        let bodies = [
            ("gzip", gzip(&text)),
            ("x-gzip", two),
            ("deflate", zlib.finish().expect("memory")),
            ("deflate", raw.finish().expect("memory")),
            ("Zstd", zstd.clone()),
            ("zstd, identity, gzip", gzip(&zstd)),
        ];
        for (coding, body) in &bodies {
            for piece in [1, 1000, body.len()] {
                assert!(decode(coding, body, piece).as_ref() == Ok(&text), "{coding} in pieces of {piece}");
            }
            let cut = decode(coding, &body[..body.len() / 2], 1000);
            assert!(cut.is_err(), "{coding}: {:?}", cut.map(|text| text.len()));
        }
    }

    #[test]
    fn what_cannot_be_decoded() {
        assert_eq!(decode("snappy", b"x", 1), Err(format!("the coding 'snappy' is not known ({ACCEPTED} are)")));
        assert!(Decoder::new(&"gzip,".repeat(6)).is_err_and(|e| e.contains("6 times")));
        assert!(Decoder::new(" identity").is_ok_and(|decoder| decoder.is_none()));
        for coding in ["gzip", "deflate", "br", "zstd"] {
            assert!(decode(coding, b"\xff\xff not encoded at all", 100).is_err(), "{coding}");
        }
        // A window of 1 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3];
        assert_eq!(decode("zstd", &frame, 100), Err("a zstd window of more than 8 MiB".to_owned()));
    }

    /// 64 MiB of zeros come out piece by piece.
    #[test]
    fn bombs() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..64 {
            gzip.write_all(&vec![0; 1 << 20]).expect("memory");
        }
        let mut decoder = Decoder::new("gzip").expect("known").expect("a coding");
        decoder.push(&gzip.finish().expect("memory"));
        decoder.end();
        let mut length = 0;
        while let Ok(Decoded::Bytes(bytes)) = decoder.next() {
            assert!(bytes.len() <= CHUNK);
            length += bytes.len();
        }
        assert_eq!(length, 64 << 20);
    }
}
