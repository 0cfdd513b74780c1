//! The content that is sent: its bytes identify the stream or datagram and the offset in it.

use bytes::Bytes;

/// Bytes of the number at the front, little-endian.
const HEAD: u64 = 8;
/// Period of the content in bytes.
const PERIOD: usize = 64 * 1024;

/// Contents of `size` bytes each, by number.
#[derive(Debug, Clone)]
pub(super) struct Content {
    size: u64,
    /// The period, twice.
    block: Bytes,
}

impl Content {
    pub(super) fn new(size: u64) -> Self {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        let period: Vec<u8> = std::iter::repeat_with(&mut next).take(PERIOD).collect();
        Content { size, block: period.repeat(2).into() }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Some bytes of content `n` from `at` on, up to its end.
    pub(super) fn piece(&self, n: u64, at: u64) -> Bytes {
        let rest = self.size - at;
        if at < HEAD {
            let end = HEAD.min(self.size) as usize;
            return Bytes::copy_from_slice(&n.to_le_bytes()[at as usize..end]);
        }
        let start = (n.wrapping_mul(31).wrapping_add(at) % PERIOD as u64) as usize;
        self.block.slice(start..start + rest.min(PERIOD as u64) as usize)
    }

    /// All of content `n`.
    pub(super) fn whole(&self, n: u64) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.size as usize);
        while (all.len() as u64) < self.size {
            all.extend_from_slice(&self.piece(n, all.len() as u64));
        }
        all
    }

    /// The offset at which `data`, from `at` on, is not content `n`.
    pub(super) fn differs(&self, n: u64, mut at: u64, mut data: &[u8]) -> Option<u64> {
        while !data.is_empty() {
            if at >= self.size {
                return Some(at);
            }
            let piece = self.piece(n, at);
            let len = piece.len().min(data.len());
            if piece[..len] != data[..len] {
                let first = piece.iter().zip(data).take_while(|(a, b)| a == b).count();
                return Some(at + first as u64);
            }
            at += len as u64;
            data = &data[len..];
        }
        None
    }

    /// Bytes that the number takes.
    pub(super) fn head_len(&self) -> usize {
        self.size.min(HEAD) as usize
    }

    /// The number at the front of a content, as far as it fits in.
    pub(super) fn number(&self, data: &[u8]) -> u64 {
        let mut bytes = [0; HEAD as usize];
        let len = self.head_len().min(data.len());
        bytes[..len].copy_from_slice(&data[..len]);
        u64::from_le_bytes(bytes)
    }

    /// Whether `n` has this number at its front.
    pub(super) fn has_number(&self, n: u64, number: u64) -> bool {
        let mask = if self.head_len() == 8 { u64::MAX } else { (1 << (8 * self.head_len())) - 1 };
        n & mask == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart() {
        for size in [0, 1, 7, 8, 9, 1000, 200_000] {
            let content = Content::new(size);
            let all = content.whole(3);
            assert_eq!(all.len() as u64, size);
            assert_eq!(content.differs(3, 0, &all), None);
            let half = all.len() / 2;
            assert_eq!(content.differs(3, half as u64, &all[half..]), None);
            assert!(content.has_number(3, content.number(&all)));
            if size > 0 {
                assert_eq!(content.differs(4, 0, &all), Some(0));
                let mut other = all.clone();
                other[half] ^= 1;
                assert_eq!(content.differs(3, 0, &other), Some(half as u64));
            }
            assert_eq!(content.differs(3, 0, &[&all[..], b"more"].concat()), Some(size));
        }
        assert!(Content::new(1).has_number(0x1_02, 2) && !Content::new(2).has_number(0x1_02, 2));
    }
}
