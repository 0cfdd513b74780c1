//! The check of milestone 1: every datagram comes back as it was, and the totals are exact.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use std::io::{Read, Write};

use check_support::{DEADLINE, Example, Process};
use mio_quiche::net::{self, EventLoop};

fn client(example: &Example) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(example.addr).expect("UDP connects to anything");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket
}

#[test]
fn datagrams_come_back_and_are_counted() {
    let mut example = Example::start("m01_udp_echo", &[]);
    let (a, b) = (client(&example), client(&example));
    let mut buf = vec![0; 65_536];
    let (mut datagrams, mut bytes) = (0, 0);
    // The largest that IPv4 carries, and one byte; two clients at once.
    for len in [1, 2, 1200, 1472, 1473, 9000, 65_507] {
        let data: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        for socket in [&a, &b] {
            assert_eq!(socket.send(&data).expect("loopback takes it"), len);
        }
        for socket in [&a, &b] {
            let n = socket.recv(&mut buf).expect("an echo");
            assert!(buf[..n] == data[..], "{len} bytes come back as they were, not {n} others");
        }
        datagrams += 2;
        bytes += 2 * len;
    }
    // A burst, which comes in by batches and goes out again in order.
    for i in 0..100_u32 {
        a.send(&i.to_be_bytes()).expect("loopback takes it");
    }
    for i in 0..100_u32 {
        assert_eq!(a.recv(&mut buf).expect("an echo"), 4);
        assert_eq!(buf[..4], i.to_be_bytes());
    }
    (datagrams, bytes) = (datagrams + 100, bytes + 400);

    let mut reported = (0, 0);
    while reported.0 < datagrams {
        let line = example.line();
        let counts = line.strip_prefix("last second: ").and_then(|rest| rest.strip_suffix(" bytes"));
        let (d, b) = counts.and_then(|counts| counts.split_once(" datagrams, ")).expect("a report of a second");
        reported.0 += d.parse::<usize>().expect("a number");
        reported.1 += b.parse::<usize>().expect("a number");
    }
    assert_eq!(reported, (datagrams, bytes));
    let (rest, _) = example.stop();
    assert_eq!(rest, [format!("total: {datagrams} datagrams, {bytes} bytes")]);
}

#[test]
fn netcat_gets_its_line_back() {
    let example = Example::start("m01_udp_echo", &[]);
    let (ip, port) = (example.addr.ip().to_string(), example.addr.port().to_string());
    let pipes = &mut Command::new("nc");
    let mut nc = Process::start(pipes.args(["-u", &ip, &port]).stdin(Stdio::piped()).stdout(Stdio::piped()));
    nc.child.stdin.as_mut().expect("a pipe").write_all(b"hello, UDP\n").expect("nc reads");
    // nc -u never ends by itself: that the bytes came is what there is to wait for.
    let mut stdout = nc.child.stdout.take().expect("a pipe");
    let (sender, echo) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buf = [0; 11];
        sender.send(stdout.read_exact(&mut buf).map(|()| buf))
    });
    let echo = echo.recv_timeout(DEADLINE).expect("nc prints the echo").expect("nc goes on");
    assert_eq!(&echo, b"hello, UDP\n");
    let (rest, _) = example.stop();
    assert_eq!(rest.last().map(String::as_str), Some("total: 1 datagrams, 11 bytes"));
}

#[test]
fn nothing_is_said_when_nothing_happened() {
    let example = Example::start("m01_udp_echo", &[]);
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 0 datagrams, 0 bytes"]);
}

#[test]
fn the_solution_answers_with_16_bytes() {
    let bound = net::UdpSocket::bind(([127, 0, 0, 1], 0).into(), 1 << 16).expect("a free port");
    let mut event_loop = EventLoop::new(bound, false).expect("an event loop");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(event_loop.local_addr()).expect("UDP connects to anything");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let sent: [&[u8]; 3] = [b"hello\n", b"sixteen bytes ok", b"seventeen bytes.."];
    for data in sent {
        socket.send(data).expect("loopback takes it");
    }
    let (mut echo, mut answers) = (solution::Echo::default(), 0);
    while answers < sent.len() {
        event_loop.wait(net::now(), Some(net::now() + DEADLINE)).expect("it waits");
        event_loop.receive_each(|datagram| echo.take(&datagram));
        let next = |buf: &mut [u8], _: usize| {
            let (transmit, data) = echo.waiting.pop_front()?;
            buf[..data.len()].copy_from_slice(&data);
            answers += 1;
            Some(transmit)
        };
        assert!(event_loop.transmit_each(next).expect("it sends"), "three datagrams fit into the socket");
    }
    let mut buf = [0; 64];
    for data in sent {
        let n = socket.recv(&mut buf).expect("an answer");
        assert_eq!(buf[..n], data[..data.len().min(16)]);
    }
}
