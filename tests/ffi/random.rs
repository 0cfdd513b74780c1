//! Calls in random order with random arguments: whatever comes, none fails inside the library, and it works afterwards.

use std::ptr::null;

use mio_quiche::ffi::*;

use crate::abi::{Engine, ok, section};

/// Numbers that look random, the same ones for a seed.
struct Random(u64);

impl Random {
    /// Less than `n`.
    fn below(&mut self, n: u64) -> u64 {
        // The generator of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A small id mostly, which may name something.
    fn id(&mut self) -> u64 {
        match self.below(20) {
            0 => self.pick(&[0, u64::MAX, 1 << 53]),
            _ => 1 + self.below(60),
        }
    }

    fn flags(&mut self) -> u32 {
        self.pick(&[0, 0, MQ_FLAG_END, MQ_FLAG_END, MQ_FLAG_UNI, u32::MAX])
    }
}

/// Calls something of an engine, and returns its code.
fn call(random: &mut Random, engine: &Engine, url: &str, memory: &mut [u8]) -> i32 {
    let (handle, id, other) = (engine.handle, random.id(), random.id());
    let len = random.below(memory.len() as u64) as usize;
    let len = random.pick(&[0, 1, 100, len]);
    let fields = match random.below(4) {
        0 => section(&[("x-a", "1"), ("x-b", "")]),
        1 => b"wrong".to_vec(),
        _ => Vec::new(),
    };
    let (f, f_len) = (fields.as_ptr(), fields.len());
    let data = if random.below(20) == 0 { null() } else { memory.as_ptr() };
    let (code, status, mut place, mut lent) =
        (random.pick(&[0, 7, 0x10c, 1 << 40, u64::MAX]), random.below(700), 0, null());
    // SAFETY: there is as much memory as the lengths say, or null.
    unsafe {
        match random.below(24) {
            0..=2 => mq_respond(handle, id, status as u32, f, f_len, data, len, random.flags()),
            3..=4 => mq_respond(handle, id, 200, null(), 0, data, len, random.flags()),
            5..=6 => mq_write(handle, id, data, len, random.flags()),
            7 => mq_finish(handle, id, f, f_len),
            8 => mq_read(handle, id, memory.as_mut_ptr(), len),
            9 => mq_read_lent(handle, id, &mut lent),
            10 => mq_reset(handle, id, code),
            11 => mq_reset_send(handle, id, code),
            12 => mq_stop_receiving(handle, id, code),
            13 if random.below(3) == 0 => mq_release(handle, id),
            14 => mq_accept(handle, id, f, f_len),
            15..=16 => mq_open_stream(handle, id, other as u32 % 2, &mut place),
            17 => mq_send_datagram(handle, id, data, len),
            18 => mq_send_quic_datagram(handle, id, data, len),
            19 if random.below(8) == 0 => mq_close_session(handle, id, code as u32, data, len % 2000),
            20 if random.below(20) == 0 => mq_close_connection(handle, id, code, data, len % 2000),
            21 => mq_inform(handle, id, status as u32, f, f_len),
            22 => mq_drain_session(handle, id),
            _ if random.below(2) == 0 => mq_connect(handle, url.as_ptr(), url.len(), f, f_len, &mut place),
            _ => {
                let method = random.pick(&["GET", "POST", "HEAD", "G T"]);
                let (m, m_len, u, u_len) = (method.as_ptr(), method.len(), url.as_ptr(), url.len());
                mq_request(handle, m, m_len, u, u_len, f, f_len, data, len, random.flags(), &mut place)
            }
        }
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
            let code = call(&mut random, engine, &url, &mut memory);
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
