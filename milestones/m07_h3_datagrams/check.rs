//! The check of milestone 7: two flows on one connection, exact to the number, and datagrams that belong to nothing.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc;

#[path = "../check_support.rs"]
mod check_support;
mod solution;

use bytes::Bytes;
use check_support::{Example, Local, example_path, fetch, run, run_python};
use mio_quiche::{Client, ClientConfig, ClientError, ClientRequest, ResponseHandler, ResponseHead, net};
use mio_quiche::{Progress, Recv, Result, Router, Stream, StreamHandler};

/// The lines of a case for `client.py`, whose connection is `client`.
fn case(example: &Example, body: &str) -> Vec<String> {
    let program = format!("import sys\nfrom client import *\n\nclient = Client(sys.argv[1])\n{body}\nclient.close()\n");
    run_python(&program, &[&format!("https://{}", example.addr)])
}

#[test]
fn the_chapters_client() {
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

/// Sends datagrams back as they came, and answers with their numbers.
#[derive(Default)]
struct Back {
    seen: BTreeSet<u32>,
}

impl StreamHandler for Back {
    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if s.read(&mut [0; 16])? != Recv::Finished {
            s.send_head()?;
            return Ok(Progress::Pending);
        }
        s.finish_with(&mut format!("{:?}", self.seen).into())?;
        Ok(Progress::Done)
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        self.seen.extend(solution::number(&payload));
        Ok(s.send_datagram(&payload)?)
    }
}

/// The solution's handler, of which the check receives the result.
struct Watched {
    probe: solution::Probe,
    sender: mpsc::Sender<(Vec<u128>, Vec<u8>)>,
}

impl ResponseHandler for Watched {
    fn response(&mut self, s: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        self.probe.response(s, head)
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        self.probe.poll(s)
    }

    fn datagram(&mut self, s: &mut Stream<'_>, payload: Bytes) -> Result<()> {
        self.probe.datagram(s, payload)
    }

    fn finished(&mut self, result: Result<(), ClientError>) {
        self.probe.finished(result);
        let result = (std::mem::take(&mut self.probe.trips), std::mem::take(&mut self.probe.answer));
        self.sender.send(result).expect("the check waits");
    }
}

#[test]
fn the_solution_measures_round_trips() {
    let server = Local::start(|| Router::new().post("/probe", |_req, res| res.stream(Back::default())));
    let mut config = ClientConfig::default();
    config.dangerous().accept_any_certificate();
    let mut client = Client::new(config).expect("a client");
    let request = ClientRequest::post(&server.url("/probe")).expect("a URL").streamed_body(None);
    let (sender, results) = mpsc::channel();
    let start = net::now();
    let probe = solution::Probe { start, count: 5, sent: 0, due: None, trips: Vec::new(), answer: Vec::new() };
    client.start(request, Watched { probe, sender });
    client.run().expect("it runs");
    let (trips, answer) = results.recv().expect("the request has ended");
    assert_eq!((trips.len(), answer.as_slice()), (5, &b"{0, 1, 2, 3, 4}"[..]));
    assert!(trips.is_sorted() && trips[4] <= start.elapsed().as_micros(), "{trips:?}");
    server.stop();
}
