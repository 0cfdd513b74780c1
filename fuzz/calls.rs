//! Calls of the C ABI in any order with any arguments, for the fuzz target `abi` and the ABI's tests.

use std::ptr::{null, null_mut};

use mio_quiche::ffi::*;

/// Where the choices come from.
pub(crate) trait Choices {
    /// A number less than `n`, which is not 0.
    fn below(&mut self, n: u64) -> u64;

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

/// A section of names and values.
pub(crate) fn section(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect()
}

/// Calls something of an engine, and returns its code. A client asks for `url`.
pub(crate) fn call(choices: &mut impl Choices, handle: u64, url: &str, memory: &mut [u8]) -> i32 {
    let (id, other) = (choices.id(), choices.id());
    let len = choices.below(memory.len() as u64) as usize;
    let len = choices.pick(&[0, 1, 100, len]);
    let fields = match choices.below(4) {
        0 => section(&[("x-a", "1"), ("x-b", "")]),
        1 => b"wrong".to_vec(),
        _ => Vec::new(),
    };
    let (f, f_len) = (fields.as_ptr(), fields.len());
    let data = if choices.below(20) == 0 { null() } else { memory.as_ptr() };
    let room = if choices.below(20) == 0 { null_mut() } else { memory.as_mut_ptr() };
    let code = choices.pick(&[0, 7, 0x10c, 1 << 40, u64::MAX]);
    let (status, mut place, mut lent) = (choices.below(700) as u32, 0, null());
    // SAFETY: there is as much memory as the lengths say, or null.
    unsafe {
        match choices.below(31) {
            0..=2 => mq_respond(handle, id, status, f, f_len, data, len, choices.flags()),
            3..=4 => mq_respond(handle, id, 200, null(), 0, data, len, choices.flags()),
            5..=6 => mq_write(handle, id, data, len, choices.flags()),
            7 => mq_finish(handle, id, f, f_len),
            8 => mq_read(handle, id, room, len),
            9 => {
                let read = mq_read_lent(handle, id, &mut lent);
                if read > 0 {
                    // The memory is there to be read.
                    memory[0] = std::slice::from_raw_parts(lent, read as usize).iter().fold(0, |sum, byte| sum ^ byte);
                }
                read
            }
            10 => mq_reset(handle, id, code),
            11 => mq_reset_send(handle, id, code),
            12 => mq_stop_receiving(handle, id, code),
            13 if choices.below(3) == 0 => mq_release(handle, id),
            14 => mq_accept(handle, id, f, f_len),
            15..=16 => mq_open_stream(handle, id, other as u32 % 2, &mut place),
            17 => mq_send_datagram(handle, id, data, len),
            18 => mq_send_quic_datagram(handle, id, data, len),
            19 if choices.below(8) == 0 => mq_close_session(handle, id, code as u32, data, len % 2000),
            20 if choices.below(20) == 0 => mq_close_connection(handle, id, code, data, len % 2000),
            21 => mq_inform(handle, id, status, f, f_len),
            22 => mq_drain_session(handle, id),
            23 => mq_max_datagram(handle, id),
            24 => mq_local_addr(handle, room, len),
            25 => mq_stats(handle),
            26 => mq_metrics(handle),
            27 if choices.below(10) == 0 => mq_reload(handle),
            28 if choices.below(10) == 0 => mq_open_datagrams(handle, url.as_ptr(), url.len(), &mut place),
            _ if choices.below(2) == 0 => mq_connect(handle, url.as_ptr(), url.len(), f, f_len, &mut place),
            _ => {
                let method = choices.pick(&["GET", "POST", "HEAD", "G T"]);
                let (m, m_len, u, u_len) = (method.as_ptr(), method.len(), url.as_ptr(), url.len());
                mq_request(handle, m, m_len, u, u_len, f, f_len, data, len, choices.flags(), &mut place)
            }
        }
    }
}
