use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::property_tests::check;

const OWNERS: usize = 6;

#[derive(Clone, Debug)]
enum Op {
    Arm(usize, u64),
    Cancel(usize),
    /// So much later, everything that is due fires.
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0..OWNERS, 0u64..50).prop_map(|(owner, at)| Op::Arm(owner, at)),
        (0..OWNERS).prop_map(Op::Cancel),
        (0u64..20).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 0..200)
}

#[test]
fn every_owner_fires_once_at_its_earliest_deadline() {
    let start = crate::net::now();
    let at = |ms| start + Duration::from_millis(ms);
    check(ops(), |ops| {
        let (mut timers, mut armed) = (Timers::new(), [Armed::default(); OWNERS]);
        let (mut model, mut now) = (BTreeMap::<usize, u64>::new(), 0);
        for op in ops {
            match op {
                Op::Arm(owner, after) => {
                    let deadline = now + after;
                    timers.arm(owner, &mut armed[owner], at(deadline));
                    let entry = model.entry(owner).or_insert(deadline);
                    *entry = deadline.min(*entry);
                }
                Op::Cancel(owner) => {
                    timers.cancel(owner, &mut armed[owner]);
                    model.remove(&owner);
                }
                Op::Wait(ms) => {
                    now += ms;
                    let mut due: Vec<_> =
                        model.iter().filter(|(_, at)| **at <= now).map(|(owner, at)| (*at, *owner)).collect();
                    due.sort_unstable();
                    for (_, owner) in due {
                        assert_eq!(timers.pop_due(at(now)), Some(owner));
                        armed[owner].fired();
                        model.remove(&owner);
                    }
                    assert_eq!(timers.pop_due(at(now)), None);
                }
            }
            assert_eq!(timers.next(), model.values().min().map(|ms| at(*ms)));
            assert_eq!(timers.len(), model.len());
        }
    });
}
