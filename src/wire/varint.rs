//! Variable-length integers (RFC 9000 section 16).

/// The largest value.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// The size in bytes of the integer that begins with `first`.
pub(crate) fn len_by_first(first: u8) -> usize {
    1 << (first >> 6)
}

/// The integer at the front of `bytes`, in any length, and its size in bytes; `None` if it is truncated.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = len_by_first(first);
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

/// Splits the integer at the front off `bytes`.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, len) = read(bytes)?;
    *bytes = &bytes[len..];
    Some(value)
}

/// The size in bytes of the shortest form of `value`.
pub(crate) fn len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Appends the shortest form of `value`, which must not be above [`MAX`].
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX);
    match len(value) {
        1 => out.push(value as u8),
        2 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
#[path = "varint_property_tests.rs"]
mod property_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_come_back_and_cut_ones_do_not() {
        // The examples of RFC 9000 appendix A.1 among them.
        let values = [0, 37, 0x3f, 0x40, 15_293, 0x3fff, 0x4000, 494_878_333, 0x3fff_ffff, 0x4000_0000];
        for value in values.into_iter().chain([151_288_809_941_952_652, MAX]) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), len(value));
            assert_eq!(read(&bytes), Some((value, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), None);
            }
        }
        assert_eq!(read(&[0x40, 0x25, 0xff]), Some((37, 2)), "a longer form than needed is a form");
        assert_eq!(read(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]), Some((151_288_809_941_952_652, 8)));
    }
}
