//! Calls in random order with random arguments: whatever comes, none fails inside the library, and it works afterwards.

#[path = "../../fuzz/calls.rs"]
mod calls;

use calls::{Choices, call};
use mio_quiche::ffi::*;

use crate::abi::{Engine, ok};

/// Numbers that look random, the same ones for a seed.
struct Random(u64);

impl Choices for Random {
    fn below(&mut self, n: u64) -> u64 {
        // The generator of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn calls_in_random_order_never_fail_inside_the_library() {
    let rounds = std::env::var("FFI_SEEDS").map_or(3, |seeds| seeds.parse().unwrap());
    for seed in 1..=rounds {
        let settings = [("read_buffer", "5000"), ("write_buffer", "3000")];
        let (mut server, mut client) = (Engine::server(&settings), Engine::client(&settings));
        let url = server.url("/");
        let (mut random, mut memory) = (Random(seed), vec![b'm'; 20_000]);
        let (mut worked, mut kinds) = (0, std::collections::BTreeSet::new());
        for n in 0..4000 {
            let engine = if random.below(2) == 0 { &server } else { &client };
            let code = call(&mut random, engine.handle, &url, &mut memory);
            assert_ne!(code, MQ_ERR_INTERNAL, "seed {seed}, call {n}: {}", crate::abi::last_error());
            worked += u32::from(code >= 0);
            if n % 20 == 0 {
                for event in [server.poll(16, 1), client.poll(16, 1)].concat() {
                    assert_ne!(event.kind, MQ_EVENT_ENDED, "seed {seed}, call {n}: {event:?}");
                    kinds.insert(event.kind);
                }
            }
        }
        assert!(worked > 200 && kinds.len() >= 8, "seed {seed}: {worked} calls worked, events {kinds:?}");
        // A client without a past, as the other one may have a thousand requests left.
        let mut fresh = Engine::client(&[]);
        let id = fresh.get(&server.url("/after"));
        let request = loop {
            let request = server.next(MQ_EVENT_REQUEST);
            if request.field(":path").as_deref() == Some("/after") {
                break request;
            }
        };
        ok(server.respond(request.id, 200, &[], b"fine", MQ_FLAG_END));
        assert_eq!(fresh.next_of(MQ_EVENT_RESPONSE, id).code, 200);
        assert_eq!(fresh.read_all(id), b"fine");
    }
}
