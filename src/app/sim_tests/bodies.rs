//! Responses that are made from the whole body of a request.

use super::*;
use crate::app::{Progress, Router};

const LIMIT: usize = 10_000;
const NEGATIVE: &str = "field \"id\": invalid value: integer `-1`, expected u32 at line 1 column 8\n";

#[derive(serde::Deserialize, serde::Serialize)]
struct Message {
    id: u32,
    text: String,
}

fn sim() -> Sim {
    let router = Router::new()
        .post("/length", |_, res| {
            res.header("x-early", "1").body(LIMIT, |req, body, res| {
                res.status(201).text(format!("{} of {} bytes", body.len(), req.content_length().unwrap_or(0)))
            })
        })
        .post("/echo", |_, res| {
            res.body(LIMIT, |_, mut body, res| {
                res.stream(move |s: &mut crate::Stream<'_>| {
                    s.finish_with(&mut body)?;
                    Ok(if body.is_empty() { Progress::Done } else { Progress::Pending })
                })
            })
        })
        .post("/panic", |_, res| res.body(LIMIT, |_, _, _| panic!("after the body")))
        .post("/form", |_, res| {
            res.body_form(LIMIT, |_, message: Message, res| res.text(format!("{} {}", message.id, message.text)))
        })
        .post("/small", |_, res| res.max_body(100).stream(crate::Echo::default()))
        .post("/json", |_, res| {
            res.body_json(LIMIT, |_, message: Message, res| {
                res.json(&Message { id: message.id + 1, text: message.text.to_uppercase() })
            })
        });
    Sim::connected(Options { router, ..Options::default() })
}

fn answer(sim: &Sim, id: u64) -> (&str, &str) {
    let answer = &sim.answers[&id];
    assert_eq!(answer.reset, None);
    (answer.field(":status").unwrap_or("none"), std::str::from_utf8(&answer.body).expect("text"))
}

#[test]
fn the_whole_body_comes_at_once() {
    let mut sim = sim();
    for len in [0, 1, 5000, LIMIT] {
        let body = payload(len);
        let length = len.to_string();
        let declared = sim.request("POST", "/length", &[("content-length", &length)], &body);
        let (undeclared, echo) = (sim.post("/length", &body), sim.post("/echo", &body));
        sim.finish_all();
        assert_eq!(answer(&sim, declared), ("201", &*format!("{len} of {len} bytes")));
        assert_eq!(sim.answers[&declared].field("x-early"), Some("1"));
        assert_eq!(answer(&sim, undeclared), ("201", &*format!("{len} of 0 bytes")));
        assert!(sim.answers[&echo].body == body);
        sim.answers.clear();
    }
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let mut sim = sim();
    let body = payload(LIMIT + 1);
    let length = body.len().to_string();
    let declared = sim.request("POST", "/length", &[("content-length", &length), ("expect", "100-continue")], &body);
    let undeclared = sim.post("/length", &body);
    sim.finish_all();
    assert_eq!(answer(&sim, declared).0, "413");
    assert_eq!(sim.answers[&declared].heads.len(), 1, "nobody asked for the body");
    assert_eq!(answer(&sim, undeclared).0, "413");
    sim.run_until("nothing left", |sim| sim.app.running() == 0 && sim.server.stream_count() == 0);
}

#[test]
fn a_panic_after_the_body_is_a_500() {
    let mut sim = sim();
    let id = sim.post("/panic", b"body");
    sim.finish_all();
    assert_eq!(answer(&sim, id).0, "500");
    assert_eq!(sim.app.panics().iter().collect::<Vec<_>>(), [("/panic", 1)]);
}

#[test]
fn json_is_read_and_written() {
    let mut sim = sim();
    for (content_type, body, expected) in [
        ("application/json", r#"{"id":7,"text":"seven"}"#, ("200", "{\"id\":8,\"text\":\"SEVEN\"}\n")),
        ("Application/vnd.x+JSON; charset=utf-8", r#"{"id":1,"text":""}"#, ("200", "{\"id\":2,\"text\":\"\"}\n")),
        ("text/plain", r#"{"id":7,"text":"seven"}"#, ("415", "the content-type must be application/json\n")),
        ("application/json", r#"{"id":7"#, ("400", "EOF while parsing an object at line 1 column 7\n")),
        ("application/json", r#"{"id":7}"#, ("422", "missing field `text` at line 1 column 8\n")),
        ("application/json", r#"{"id":-1,"text":""}"#, ("422", NEGATIVE)),
        ("application/json", r#"{"id":1,"text":""}x"#, ("400", "trailing characters at line 1 column 19\n")),
        ("application/json", "", ("400", "EOF while parsing a value at line 1 column 0\n")),
    ] {
        let id = sim.request("POST", "/json", &[("content-type", content_type)], body.as_bytes());
        sim.finish_all();
        assert_eq!(answer(&sim, id), expected, "{content_type} {body}");
    }
}

#[test]
fn a_form_is_read() {
    let mut sim = sim();
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, expected) in [
        (form, "text=a+%26+b&id=7&other=", ("200", "7 a & b")),
        ("Application/x-www-form-urlencoded; charset=utf-8", "id=1&text=", ("200", "1 ")),
        (form, "id=7", ("422", "missing field `text`\n")),
        (form, "id=x&text=", ("422", "field \"id\" is \"x\": invalid digit found in string\n")),
        ("text/plain", "id=1&text=", ("415", "the content-type must be application/x-www-form-urlencoded\n")),
    ] {
        let id = sim.request("POST", "/form", &[("content-type", content_type)], body.as_bytes());
        sim.finish_all();
        assert_eq!(answer(&sim, id), expected, "{content_type} {body}");
    }
}

#[test]
fn a_route_has_a_limit_of_its_own() {
    let mut sim = sim();
    let small = sim.post("/small", &payload(100));
    let declared = sim.request("POST", "/small", &[("content-length", "101")], &payload(101));
    let undeclared = sim.post("/small", &payload(101));
    sim.finish_all();
    assert_eq!(sim.answers[&small].body, payload(100));
    assert_eq!([declared, undeclared].map(|id| answer(&sim, id).0), ["413", "413"]);
}
