//! Handlers that fail: the error is the response, or the stream is reset.

use super::*;
use crate::app::{Progress, Router};
use crate::endpoint::Stream;
use crate::error::{Error, ErrorCode, HttpError};

fn found(id: u32) -> Result<u32, HttpError> {
    if id == 7 { Ok(id) } else { Err(HttpError::new(404, "no such note").with_source("a row")) }
}

fn sim() -> Sim {
    let router = Router::new()
        .get("/offload/:id", |req, res| {
            let id = req.param_as("id")?;
            Ok(res.header("vary", "origin").offload(move || found(id), |found, res| Ok(res.json(&found?))))
        })
        .get("/later/:id", |req, res| {
            let id = req.param_as("id")?;
            Ok(res.header("vary", "origin").later(move |reply| reply.send(move |res| Ok(res.json(&found(id)?)))))
        })
        .post("/body", |_, res| {
            res.header("vary", "origin").body(100, |_, body, res| {
                let text = std::str::from_utf8(&body).map_err(|_| 400)?;
                Ok(res.json(&found(text.parse().map_err(HttpError::internal)?)?))
            })
        })
        .post("/json", |_, res| res.header("vary", "origin").body_json(100, |_, id, res| Ok(res.json(&found(id)?))))
        .get("/stream/:id", |req, res| {
            let id = req.param_as("id")?;
            Ok(res.header("vary", "origin").stream(move |s: &mut Stream<'_>| {
                s.finish_with(&mut found(id)?.to_string().into())?;
                Ok(Progress::Done)
            }))
        })
        .get("/cut", |_, res| {
            res.stream(|s: &mut Stream<'_>| {
                s.write(b"some")?;
                Err(Error::from(HttpError::new(404, "too late")))
            })
        });
    Sim::connected(Options { router, ..Options::default() })
}

#[test]
fn an_error_before_the_head_is_the_response() {
    let mut sim = sim();
    let json = [("content-type", "application/json")];
    let (missing, internal) = (("404", "no such note\n"), ("500", "500 Internal Server Error\n"));
    let cases = [
        (sim.get("/offload/7"), ("200", "7\n")),
        (sim.get("/offload/8"), missing),
        (sim.get("/later/7"), ("200", "7\n")),
        (sim.get("/later/8"), missing),
        (sim.post("/body", b"7"), ("200", "7\n")),
        (sim.post("/body", b"8"), missing),
        (sim.post("/body", b"\xff"), ("400", "400 Bad Request\n")),
        (sim.post("/body", b"x"), internal),
        (sim.request("POST", "/json", &json, b"7"), ("200", "7\n")),
        (sim.request("POST", "/json", &json, b"8"), missing),
        (sim.get("/stream/7"), ("200", "7")),
        (sim.get("/stream/8"), missing),
    ];
    sim.finish_all();
    for (n, (id, expected)) in cases.into_iter().enumerate() {
        let answer = &sim.answers[&id];
        let text = std::str::from_utf8(&answer.body).expect("text");
        assert_eq!((answer.field(":status"), text, answer.reset), (Some(expected.0), expected.1, None), "{n}");
        assert_eq!(answer.field("vary"), Some("origin"), "{n}: what was set before stays");
        if expected.0 != "200" {
            assert_eq!(answer.field("content-length"), Some(text.len().to_string().as_str()), "{n}");
            assert_eq!(answer.field("content-type"), Some("text/plain;charset=utf-8"), "{n}");
        }
    }
    assert_eq!(sim.app.panics().iter().count(), 0, "an error is no panic");
    assert_eq!(sim.app.running(), 0);
}

#[test]
fn an_error_after_the_head_resets_the_stream() {
    let mut sim = sim();
    let id = sim.get("/cut");
    sim.finish_all();
    assert_eq!(sim.answers[&id].reset, Some(ErrorCode::H3_INTERNAL_ERROR.0));
    assert_eq!(sim.app.panics().iter().count(), 0);
    assert_eq!(sim.app.running(), 0);
}
