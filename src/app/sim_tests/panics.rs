//! Handlers that panic: each costs its request, stream or session.

use super::*;
use crate::app::{Progress, Router};
use crate::endpoint::Stream;

fn panic_counts(sim: &Sim) -> Vec<(String, u64)> {
    sim.app.panics().iter().map(|(route, count)| (route.to_owned(), count)).collect()
}

#[test]
fn a_panic_costs_its_request() {
    const TIMES: usize = 50;
    let router = Router::new()
        .get("/now", |_, _| panic!("at once"))
        .get("/later/:id", |_, res| res.stream(|_: &mut Stream<'_>| panic!("before the head")))
        .get("/cut", |_, res| {
            let mut written = false;
            res.stream(move |s: &mut Stream<'_>| {
                assert!(!written, "after the head");
                written = true;
                s.write(b"some")?;
                Ok(Progress::Pending)
            })
        })
        .get("/", |_, res| res.text("fine\n"));
    let mut sim = Sim::connected(Options { router, ..Options::default() });
    for n in 0..TIMES {
        let panics = [sim.get("/now"), sim.get(&format!("/later/{n}"))];
        let fine = sim.get("/");
        sim.finish_all();
        for id in panics {
            assert_eq!(sim.answers[&id].field(":status"), Some("500"));
            assert_eq!(sim.answers[&id].reset, None);
        }
        assert_eq!(sim.answers[&fine].body, b"fine\n");
        sim.answers.clear();
    }
    let cut = sim.open("GET", "/cut");
    sim.run_until("the head", |sim| !sim.answers[&cut].heads.is_empty());
    // The rest of the request lets the handler run again.
    let Sim { h3, client, .. } = &mut sim;
    h3.as_mut().expect("connected").send_body(client, cut, b"x", true).expect("room");
    sim.finish_all();
    assert_eq!(sim.answers[&cut].field(":status"), Some("200"));
    assert_eq!(sim.answers[&cut].reset, Some(crate::error::ErrorCode::H3_INTERNAL_ERROR.0));
    let times = TIMES as u64;
    let expected = [("/cut", 1), ("/later/:id", times), ("/now", times)];
    assert_eq!(panic_counts(&sim), expected.map(|(route, count)| (route.to_owned(), count)));
    assert_eq!(sim.app.running(), 0);
}

mod sessions {
    use bytes::Bytes;

    use super::super::sessions::{Client, DRAFT02, options};
    use super::*;
    use crate::app::{Session, SessionHandler, StreamHandler};
    use crate::error::{Error, ErrorCode, Result, StreamError};
    use crate::h3::Recv;
    use crate::transport::table::StreamId;
    use crate::wire::capsule::Capsule;
    use crate::wire::datagram;

    /// Panics for a datagram, and for the first bytes of a unidirectional stream. Reads bidirectional streams itself,
    /// and says of each that it cannot be read any more.
    struct Fragile;

    impl SessionHandler for Fragile {
        fn datagram(&mut self, _: &mut Session<'_>, payload: Bytes) -> Result<()> {
            panic!("{payload:?}");
        }

        fn stream(&mut self, _: &mut Session<'_>, id: StreamId) -> Result<Option<Box<dyn StreamHandler>>> {
            let panics = |s: &mut Stream<'_>| match s.read(&mut [0; 100])? {
                Recv::Data(_) => panic!("a stream"),
                _ => Ok(Progress::Pending),
            };
            Ok(if id.is_bidi() { None } else { Some(Box::new(panics)) })
        }

        fn ready(&mut self, s: &mut Session<'_>, id: StreamId) -> Result<()> {
            let Some(mut stream) = s.stream(id) else { return Ok(()) };
            match stream.read(&mut [0; 100])? {
                Recv::Data(_) => Err(Error::Stream(StreamError::Reset(ErrorCode::webtransport(5)))),
                _ => Ok(()),
            }
        }

        fn closed(&mut self, _: StreamId, _: &crate::wt::SessionEnd) {
            panic!("closed");
        }
    }

    fn open() -> Client {
        let router = Router::new().webtransport("/wt", |req| req.accept(Fragile));
        Client::open(Options { router, ..options(Network::default()) }, "/wt", &[DRAFT02])
    }

    #[test]
    fn a_panic_of_a_session_closes_it() {
        let mut client = open();
        client.sim.client.dgram_send(&datagram::build(0, b"ping")).expect("room");
        client.run_until("the end", |c| c.is_whole(0));
        assert!(matches!(&client.capsules()[..], [Capsule::Close { code: 1, .. }]), "{:?}", client.capsules());
        let panics = [("/wt".to_owned(), 2)];
        client.run_until("the session's last call", |c| panic_counts(&c.sim) == panics);
        assert_eq!(client.sim.server.session_count(), 0);
    }

    #[test]
    fn a_panic_or_an_error_of_a_stream_ends_the_stream() {
        let mut client = open();
        let mut ids = Vec::new();
        for n in 0..20 {
            ids.push(client.stream(true, b"error", false));
            client.stream(false, b"panic", false);
            client.run_until("the panic", |c| panic_counts(&c.sim) == [("/wt".to_owned(), n + 1)]);
        }
        client.run_until("all resets", |c| ids.iter().all(|id| c.resets.contains_key(id)));
        assert!(client.resets.values().all(|code| *code == ErrorCode::webtransport(5).0), "{:?}", client.resets);
        assert_eq!(client.sim.server.session_count(), 1);
        assert_eq!(client.capsules(), []);
    }

    #[test]
    fn a_panic_of_the_decision_rejects_the_session() {
        let router = Router::new().webtransport("/never", |_| panic!("no session"));
        let mut client = Client::ask(Options { router, ..options(Network::default()) }, "/never", &[DRAFT02], &[]);
        client.run_until("the answer", |c| c.is_whole(0));
        assert_eq!(panic_counts(&client.sim), [("/never".to_owned(), 1)]);
        assert_eq!(client.sim.server.session_count(), 0);
    }
}
