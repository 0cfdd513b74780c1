use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::property_tests::check;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Classifying,
    Buffered,
    Http,
    Request,
    Session,
    Discarding,
}

const KINDS: [Kind; 6] =
    [Kind::Classifying, Kind::Buffered, Kind::Http, Kind::Request, Kind::Session, Kind::Discarding];

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, Kind),
    Remove(u64),
    ForgetHttp,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Few ids, so that they meet again.
    let insert = (0u64..24, prop::sample::select(&KINDS[..])).prop_map(|(stream, kind)| Op::Insert(stream, kind));
    let op = prop_oneof![8 => insert, 6 => (0u64..24).prop_map(Op::Remove), 1 => Just(Op::ForgetHttp)];
    prop::collection::vec(op, 0..200)
}

fn state(stream: u64, kind: Kind) -> StreamState {
    match kind {
        Kind::Classifying => StreamState::Classifying(PartialHeader::default()),
        Kind::Buffered => StreamState::Buffered { session: stream, fin: false },
        Kind::Http => StreamState::Http,
        Kind::Request => StreamState::Request(Box::new(RequestState::sent(false, false, false))),
        Kind::Session => StreamState::Session(Box::new(SessionStreamState::opened(stream, 0))),
        Kind::Discarding => StreamState::Discarding,
    }
}

fn kind(state: &StreamState) -> Kind {
    match state {
        StreamState::Classifying(_) => Kind::Classifying,
        StreamState::Buffered { .. } => Kind::Buffered,
        StreamState::Http => Kind::Http,
        StreamState::Request(_) => Kind::Request,
        StreamState::Session(_) => Kind::Session,
        StreamState::Discarding => Kind::Discarding,
    }
}

fn compare(streams: &mut Streams, model: &BTreeMap<u64, Kind>) {
    let of = |wanted: Kind| model.iter().filter(move |(_, kind)| **kind == wanted).map(|(stream, _)| *stream);
    for stream in 0..25 {
        let expected = model.get(&stream).copied();
        assert_eq!(streams.get(stream).map(kind), expected);
        let is = |kind| expected == Some(kind);
        assert_eq!(
            (streams.request(stream).is_some(), streams.request_mut(stream).is_some()),
            (is(Kind::Request), is(Kind::Request))
        );
        assert_eq!(
            (streams.of_session(stream).is_some(), streams.of_session_mut(stream).is_some()),
            (is(Kind::Session), is(Kind::Session))
        );
    }
    assert_eq!(streams.requests(), of(Kind::Request).count());
    assert_eq!(streams.of_sessions(), of(Kind::Session).chain(of(Kind::Discarding)).count());
    assert_eq!(streams.open_count(), model.len() - of(Kind::Http).count());
    let sorted = |mut ids: Vec<u64>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(streams.classifying()), of(Kind::Classifying).collect::<Vec<_>>());
    assert_eq!(sorted(streams.iter_requests().map(|(id, _)| id).collect()), of(Kind::Request).collect::<Vec<_>>());
    assert_eq!(sorted(streams.iter_sessions().map(|(id, _)| id).collect()), of(Kind::Session).collect::<Vec<_>>());
}

#[test]
fn the_table_is_a_map_with_counts() {
    check(ops(), |ops| {
        let (mut streams, mut model) = (Streams::default(), BTreeMap::new());
        for op in ops {
            match op {
                Op::Insert(stream, kind) => {
                    streams.insert(stream, state(stream, kind));
                    model.insert(stream, kind);
                }
                Op::Remove(stream) => {
                    assert_eq!(streams.remove(stream).as_ref().map(kind), model.remove(&stream));
                }
                Op::ForgetHttp => {
                    streams.forget_http();
                    model.retain(|_, kind| *kind != Kind::Http);
                }
            }
            compare(&mut streams, &model);
        }
    });
}
