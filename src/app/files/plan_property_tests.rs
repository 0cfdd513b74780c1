use proptest::prelude::*;

use super::*;
use crate::property_tests::check;

/// The positions that a range names, one by one.
fn positions(first: Option<u64>, last: Option<u64>, len: u64) -> Vec<u64> {
    (0..len)
        .filter(|at| match (first, last) {
            (Some(first), last) => *at >= first && last.is_none_or(|last| *at <= last),
            (None, Some(suffix)) => *at + suffix >= len,
            (None, None) => unreachable!("no range"),
        })
        .collect()
}

#[test]
fn a_range_names_the_bytes_that_counting_finds() {
    let number = || prop::option::of(prop_oneof![0u64..40, Just(u64::MAX)]);
    let cases =
        (number(), number(), 0u64..40, 0usize..3).prop_filter("no range", |case| case.0.is_some() || case.1.is_some());
    check(cases, |(first, last, len, zeros)| {
        let text = |number: Option<u64>| number.map(|n| format!("{}{n}", "0".repeat(zeros))).unwrap_or_default();
        let value = format!("bytes={}-{}", text(first), text(last));
        let expected: Vec<u64> = match (first, last) {
            // Adding to the position must not overflow in the model, either.
            (None, Some(u64::MAX)) => (0..len).collect(),
            _ => positions(first, last, len),
        };
        match parse_range(&value, len) {
            None => assert!(matches!((first, last), (Some(first), Some(last)) if last < first), "{value}"),
            Some(Requested::Part(range)) => {
                assert!(!range.is_empty());
                assert_eq!(range.collect::<Vec<_>>(), expected, "{value} of {len}");
            }
            Some(Requested::Unsatisfiable) => assert!(expected.is_empty(), "{value} of {len}"),
            // `content-range` has no form for the suffix of an empty file.
            Some(Requested::Whole) => assert!(len == 0 && first.is_none(), "{value} of {len}"),
        }
    });
}
