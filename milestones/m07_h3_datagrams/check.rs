//! The check of milestone 7: two flows on one connection, exact to the number, and datagrams that belong to nothing.

use std::process::Command;

#[path = "../check_support.rs"]
mod check_support;

use check_support::{Example, chapter_code, example_path, fetch, is_from, run, run_python};

/// The lines of a case for `client.py`, whose connection is `client`.
fn case(example: &Example, body: &str) -> Vec<String> {
    let program = format!("import sys\nfrom client import *\n\nclient = Client(sys.argv[1])\n{body}\nclient.close()\n");
    run_python(&program, &[&format!("https://{}", example.addr)])
}

#[test]
fn the_chapters_client() {
    let shown = chapter_code("m07_h3_datagrams", "rust,no_run");
    assert!(is_from(&shown, include_str!("client.rs")), "the chapter shows another client:\n{shown}");
    let mut example = Example::start("m07_h3_datagrams", &[]);
    let url = format!("https://{}/probe/10", example.addr);
    let output = run(Command::new(example_path("m07_client")).args([&url, "0,1,2,4,5,6,8,9", "9,0,5"]), b"");
    assert!(output.status.success(), "{}: {}", output.status, output.stderr);
    let mut lines: Vec<_> = output.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"0,1,2,4,5,6,8,9 came back; {"came":8,"missing":[3,7]}"#,
            r#"9,0,5 came back; {"came":3,"missing":[1,2,3,4,6,7,8]}"#,
        ]
    );
    let mut said = [example.line(), example.line()];
    said.sort();
    assert_eq!(said, ["conn 0.0 stream 0: 8 of 10 came", "conn 0.0 stream 4: 3 of 10 came"]);

    // A datagram that does not come back ends the wait, and not the measurement.
    let output = run(Command::new(example_path("m07_client")).args([&url, "1,10"]), b"");
    assert_eq!(output.text(), "1 came back; {\"came\":1,\"missing\":[0,2,3,4,5,6,7,8,9]}\n");
    let line = example.line();
    assert!(line.ends_with(".1 stream 0: 1 of 10 came"), "{line}");
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 13 datagrams came, 0 were dropped"]);
}

#[test]
fn two_flows_of_a_foreign_client() {
    let example = Example::start("m07_h3_datagrams", &[]);
    let lines = case(
        &example,
        "
flows = {}
for numbers in ('01245689', '905'):
    flow = client.request('/probe/10', method='POST', fin=False)
    client.status(flow)
    flows[flow] = numbers
for flow, numbers in flows.items():
    for number in numbers:
        client.send_datagram(flow, number.encode())
for flow, numbers in flows.items():
    print(''.join(client.datagrams_of(flow, len(numbers))))
    client.send(flow, fin=True)
    print(client.finished(flow).strip())
",
    );
    let first = ["01245689", r#"{"came":8,"missing":[3,7]}"#];
    assert_eq!(lines, [first, ["905", r#"{"came":3,"missing":[1,2,3,4,6,7,8]}"#]].concat());
    let (rest, _) = example.stop();
    assert_eq!(rest.last().map(String::as_str), Some("total: 11 datagrams came, 0 were dropped"));
}

#[test]
fn a_request_that_has_ended_takes_none() {
    let example = Example::start("m07_h3_datagrams", &[]);
    // curl ends its request with the head.
    let reply = fetch(example.addr, "/probe/3", &[]);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.body, "{\"came\":0,\"missing\":[0,1,2]}\n");
    assert_eq!(fetch(example.addr, "/probe/1001", &[]).status, 400);
    let lines = case(
        &example,
        "
# The end of the body and a datagram in one packet: the end counts.
ended = client.request('/probe/2', method='POST', fin=False)
client.status(ended)
client.send_datagram(ended, b'0')
client.datagrams_of(ended, 1)
client.send(ended, fin=True)
client.send_datagram(ended, b'1')
print(client.finished(ended).strip())

# Long after the end, and before there is a request.
client.send_datagram(ended, b'1')
client.send_datagram(ended + 400, b'1')

# What is no number of this probe is ignored; other lengths of the same stream id are not.
flow = client.request('/probe/2', method='POST', fin=False)
client.status(flow)
for data in (b'', b'2', b'-1', b'one', b'\\xff'):
    client.send_datagram(flow, data)
client.quic.send_datagram_frame(bytes([flow // 4]) + b'1')
client.quic.send_datagram_frame(bytes([0x40, flow // 4]) + b'0')
print(sorted(client.datagrams_of(flow, 2)))
client.send(flow, fin=True)
print(client.finished(flow).strip(), len(client.datagrams))
",
    );
    assert_eq!(
        lines,
        [r#"{"came":1,"missing":[1]}"#, "['0', '1']", r#"{"came":2,"missing":[]} 3"#],
        "three in all came back"
    );
    let (rest, _) = example.stop();
    // 1 to the first flow and 3 to nobody, 5 for nothing and 2 to the second flow.
    assert_eq!(rest.last().map(String::as_str), Some("total: 11 datagrams came, 3 were dropped"));
}

#[test]
fn a_datagram_without_an_address_ends_the_connection() {
    let example = Example::start("m07_h3_datagrams", &[]);
    let lines = case(&example, "client.quic.send_datagram_frame(b'')\nprint(hex(client.closed_with()))");
    assert_eq!(lines, ["0x33"], "H3_DATAGRAM_ERROR");
    let (rest, _) = example.stop();
    assert_eq!(rest, ["total: 1 datagrams came, 0 were dropped"]);
}
