//! Which worker of a server a datagram is for.
//!
//! The ids of a worker's connections [name it](super::cid::Place), so its datagrams reach it from whatever address they
//! come. The ids that clients make up for their first packets are random, and spread over the workers; all packets with
//! the same id reach the same worker.

use super::cid::CID_LEN;

/// The first byte's bit for a long header (RFC 8999 section 5.1).
const LONG_HEADER: u8 = 0x80;
/// The place of the destination id's length in a long header.
const DCID_LEN_AT: usize = 5;

/// The worker, of `count`, that a datagram is for.
pub(crate) fn worker_of(datagram: &[u8], count: u8) -> u8 {
    let byte = |at: usize| datagram.get(at).copied();
    let last = match byte(0) {
        Some(first) if first & LONG_HEADER == 0 => byte(CID_LEN),
        _ => byte(DCID_LEN_AT).and_then(|len| byte(DCID_LEN_AT + usize::from(len))),
    };
    last.map_or(0, |last| last % count)
}

/// An instruction of the classic BPF machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) k: u32,
}

/// [`worker_of`] for the kernel, which reads beyond the end of a datagram as the return of 0.
pub(crate) fn program(count: u8) -> [Instruction; 9] {
    const LOAD: u16 = 0x30;
    const LOAD_INDEXED: u16 = 0x50;
    const JUMP: u16 = 0x05;
    const JUMP_IF_SET: u16 = 0x45;
    const TO_INDEX: u16 = 0x07;
    const MODULO: u16 = 0x94;
    const RETURN: u16 = 0x16;
    let plain = |code, k: usize| Instruction { code, if_true: 0, if_false: 0, k: k as u32 };
    [
        plain(LOAD, 0),
        Instruction { if_true: 2, ..plain(JUMP_IF_SET, LONG_HEADER.into()) },
        plain(LOAD, CID_LEN),
        plain(JUMP, 3),
        plain(LOAD, DCID_LEN_AT),
        plain(TO_INDEX, 0),
        plain(LOAD_INDEXED, DCID_LEN_AT),
        plain(MODULO, count.into()),
        plain(RETURN, 0),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;

    use super::*;
    use crate::transport::cid::{CidGenerator, Place};

    /// Runs a program as the kernel does.
    fn run(program: &[Instruction], packet: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0);
        loop {
            let Instruction { code, if_true, if_false, k } = program[at];
            at += 1;
            let offset = match code {
                0x30 => Some(k),
                0x50 => Some(x + k),
                _ => None,
            };
            match code {
                0x30 | 0x50 => match packet.get(offset.unwrap() as usize) {
                    Some(byte) => a = u32::from(*byte),
                    None => return 0,
                },
                0x05 => at += k as usize,
                0x45 => at += usize::from(if a & k != 0 { if_true } else { if_false }),
                0x07 => x = a,
                0x94 => a %= k,
                0x16 => return a,
                other => panic!("{other:#x}"),
            }
        }
    }

    proptest! {
        #[test]
        fn the_kernel_steers_as_we_do(packet in proptest::collection::vec(any::<u8>(), 0..60), count in 1u8..) {
            prop_assert_eq!(run(&program(count), &packet), u32::from(worker_of(&packet, count)));
        }
    }

    #[test]
    fn every_id_leads_to_its_worker() {
        for (index, count) in [(0, 1), (0, 2), (1, 2), (6, 7), (199, 200), (254, 255), (0, 255)] {
            let random = SystemRandom::new();
            let mut cids = CidGenerator::new(&random, [1; 32], Place { index, count }).unwrap();
            for n in 0..1000u16 {
                let cid = if n % 2 == 0 { cids.next().0 } else { cids.derive(&n.to_be_bytes()) };
                let short = [&[0x40], &cid.0[..], &[7; 20]].concat();
                let long = [&[0xe0, 0, 0, 0, 1, CID_LEN as u8], &cid.0[..], &[7; 20]].concat();
                assert_eq!((worker_of(&short, count), worker_of(&long, count)), (index, index), "{cid:?} of {count}");
            }
        }
    }

    #[test]
    fn clients_spread_over_the_workers() {
        let mut of_each = [0; 4];
        for n in 0..=255 {
            let initial = [&[0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, n][..], &[0; 1200]].concat();
            of_each[usize::from(worker_of(&initial, 4))] += 1;
        }
        assert_eq!(of_each, [64; 4]);
    }
}
