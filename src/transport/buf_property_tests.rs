use proptest::prelude::*;
use quiche::BufSplit as _;

use super::*;
use crate::property_tests::check;

#[derive(Clone, Debug)]
enum Op {
    /// Splits a buffer; the index and the place are taken modulo.
    Split(usize, usize),
    Prefix(usize, Vec<u8>),
    Drop(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let prefix = prop::collection::vec(any::<u8>(), 0..10);
    let op = prop_oneof![
        (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Op::Split(which, at)),
        (any::<usize>(), prefix).prop_map(|(which, prefix)| Op::Prefix(which, prefix)),
        any::<usize>().prop_map(Op::Drop),
    ];
    prop::collection::vec(op, 0..40)
}

#[test]
fn a_buffer_holds_what_a_vector_would() {
    let bytes = prop::collection::vec(any::<u8>(), 0..3 * INLINE);
    check((bytes, any::<bool>(), ops()), |(bytes, shared, ops)| {
        let unacked = Unacked::default();
        let buf = if shared { Buf::share(&Bytes::from(bytes.clone())) } else { Buf::copy(&bytes) };
        let mut pairs = vec![(buf.tracked(&unacked), bytes)];
        for op in ops {
            if pairs.is_empty() {
                break;
            }
            let count = pairs.len();
            match op {
                Op::Split(which, at) => {
                    let (buf, model) = &mut pairs[which % count];
                    let at = at % (model.len() + 1);
                    let rest = (buf.split_at(at), model.split_off(at));
                    pairs.push(rest);
                }
                Op::Prefix(which, prefix) => {
                    let (buf, model) = &mut pairs[which % count];
                    let is_inline = matches!(buf.data, Data::Inline { .. });
                    let fits = is_inline && model.len() + prefix.len() <= INLINE;
                    assert_eq!(buf.try_add_prefix(&prefix), fits);
                    if fits {
                        model.splice(..0, prefix);
                    }
                }
                Op::Drop(which) => drop(pairs.swap_remove(which % count)),
            }
            for (buf, model) in &pairs {
                assert_eq!(buf.as_ref(), model);
            }
            assert_eq!(unacked.is_empty(), pairs.is_empty());
        }
    });
}
