use proptest::prelude::*;

use super::*;
use crate::property_tests::check;
use crate::wire::capsule::{Capsule, Decoder};

#[derive(Clone, Debug)]
enum Op {
    /// Sends as many bytes as it may, up to this many.
    Send(u64),
    /// The peer's application reads up to this many bytes.
    Read(u64),
    Open(bool),
    /// The peer is done with a stream.
    End(bool),
    /// The capsules under way arrive.
    Deliver,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0u64..200).prop_map(Op::Send),
        (0u64..200).prop_map(Op::Read),
        any::<bool>().prop_map(Op::Open),
        any::<bool>().prop_map(Op::End),
        Just(Op::Deliver),
    ];
    prop::collection::vec(op, 0..200)
}

/// What one side has sent to the other, without limits and capsules.
#[derive(Default)]
struct Model {
    sent: u64,
    read: u64,
    opened: [u64; 2],
    ended: [u64; 2],
}

struct Sides {
    sender: Flow,
    receiver: Flow,
    /// Capsules of the receiver that have not arrived.
    grants: Vec<u8>,
    /// Capsules of the sender.
    complaints: Vec<u8>,
    model: Model,
    window: SessionLimits,
}

impl Sides {
    fn new(window: SessionLimits) -> Self {
        let none = SessionLimits::default();
        Sides {
            sender: Flow::new(none, window),
            receiver: Flow::new(window, none),
            grants: Vec::new(),
            complaints: Vec::new(),
            model: Model::default(),
            window,
        }
    }

    fn run(&mut self, op: &Op) {
        let Sides { sender, receiver, grants, complaints, model, .. } = self;
        match *op {
            Op::Send(wanted) => {
                let taken = wanted.min(sender.sendable());
                sender.on_sent(taken);
                model.sent += taken;
                if taken < wanted {
                    sender.on_blocked(complaints);
                }
            }
            Op::Read(wanted) => {
                let taken = wanted.min(model.sent - model.read);
                model.read += taken;
                receiver.on_read(taken, grants);
            }
            Op::Open(bidi) => {
                let can = sender.can_open(bidi);
                assert_eq!(sender.open(bidi, complaints), can);
                if can {
                    model.opened[usize::from(bidi)] += 1;
                    assert_eq!(receiver.on_stream(bidi), Ok(()), "a stream within the limit");
                }
            }
            Op::End(bidi) => {
                let at = usize::from(bidi);
                if model.ended[at] < model.opened[at] {
                    model.ended[at] += 1;
                    receiver.on_stream_over(bidi, grants);
                }
            }
            Op::Deliver => self.deliver(),
        }
    }

    fn deliver(&mut self) {
        for capsule in capsules(&mut self.grants) {
            let taken = match capsule {
                Capsule::MaxData(max) => self.sender.on_max_data(max),
                Capsule::MaxStreams { bidi, max } => self.sender.on_max_streams(bidi, max),
                other => panic!("{other:?}"),
            };
            assert_eq!(taken, Ok(()), "every limit is larger than the one before");
        }
    }

    /// The receiver holds at most a window of bytes and of each kind of streams, and never finds too many.
    fn check(&mut self, now: Instant) {
        let model = &self.model;
        let waiting = model.sent - model.read;
        assert!(waiting <= self.window.data, "{waiting} bytes wait");
        assert_eq!(self.receiver.check_received(now, waiting), Ok(()));
        for (at, window) in [self.window.uni, self.window.bidi].into_iter().enumerate() {
            assert!(model.opened[at] - model.ended[at] <= window, "more streams than allowed");
        }
    }

    /// Once everything was read and told, the sender has at least half of each window again.
    fn check_progress(&mut self) {
        self.run(&Op::Read(u64::MAX));
        for bidi in [false, true] {
            while self.model.ended[usize::from(bidi)] < self.model.opened[usize::from(bidi)] {
                self.run(&Op::End(bidi));
            }
        }
        self.deliver();
        assert!(self.sender.sendable() >= self.window.data - self.window.data / 2);
        assert_eq!(self.sender.can_open(true), self.window.bidi > 0);
        assert_eq!(self.sender.can_open(false), self.window.uni > 0);
    }
}

fn capsules(bytes: &mut Vec<u8>) -> Vec<Capsule> {
    let bytes = std::mem::take(bytes);
    let (mut decoder, mut rest) = (Decoder::default(), &bytes[..]);
    std::iter::from_fn(|| decoder.next(&mut rest).expect("our own capsules")).collect()
}

#[test]
fn two_sides_never_exceed_a_limit_and_never_stop() {
    let windows = (0u64..300, 0u64..6, 0u64..6).prop_map(|(data, bidi, uni)| SessionLimits { data, bidi, uni });
    let now = crate::net::now();
    check((windows, ops()), |(window, ops)| {
        let mut sides = Sides::new(window);
        for op in &ops {
            sides.run(op);
            sides.check(now);
        }
        sides.check_progress();
        // At most one complaint of each kind for each limit that the sender learnt.
        let complaints = capsules(&mut sides.complaints);
        assert!(complaints.len() <= 3 * (ops.len() + 1));
        let only_complaints = |c: &Capsule| matches!(c, Capsule::DataBlocked | Capsule::StreamsBlocked);
        assert!(complaints.iter().all(only_complaints));
    });
}
