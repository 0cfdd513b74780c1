use proptest::prelude::*;

use super::*;
use crate::property_tests::check;

/// `value` in `len` bytes, by the definition of RFC 9000 section 16.
fn encode(value: u64, len: usize) -> Vec<u8> {
    let mut bytes = value.to_be_bytes()[8 - len..].to_vec();
    bytes[0] |= (len.trailing_zeros() as u8) << 6;
    bytes
}

#[test]
fn every_form_of_a_value_is_read_and_the_shortest_is_written() {
    let values = (0u32..=62).prop_flat_map(|bits| 0..=(1u64 << bits) - 1);
    check((values, prop::collection::vec(any::<u8>(), 0..4)), |(value, behind)| {
        let fits = |len: &usize| value < 1 << (8 * *len - 2);
        let forms: Vec<usize> = [1, 2, 4, 8].into_iter().filter(fits).collect();
        for &len in &forms {
            let bytes = [encode(value, len), behind.clone()].concat();
            assert_eq!(read(&bytes), Some((value, len)));
        }
        let mut shortest = Vec::new();
        put(&mut shortest, value);
        assert_eq!(shortest, encode(value, forms[0]));
        assert_eq!(len(value), forms[0]);
    });
}
