//! A REST service on a slow store, and events that tell of new notes. Argument: `--listen ADDR:PORT`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio_quiche::{HttpError, Request, Response, Router, Server, ServerSentEvent, Topic};
use serde::{Deserialize, Serialize};

#[path = "../settings.rs"]
mod settings;

#[derive(Clone, Deserialize, Serialize)]
struct Note {
    text: String,
}

/// The notes, and where new ones are published.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Vec<Note>>>, Topic);

/// Work that blocks for a fifth of a second, like a query of a database that is far away.
fn query<T>(store: Store, work: impl FnOnce(&mut Vec<Note>) -> T) -> impl FnOnce() -> T {
    move || {
        std::thread::sleep(Duration::from_millis(200));
        work(&mut store.0.lock().expect("nothing panics while it is locked"))
    }
}

fn show(store: Store, req: &Request, res: Response) -> Result<Response, HttpError> {
    let n: usize = req.param_as("n")?;
    Ok(res.offload(query(store, move |notes| notes.get(n).cloned()), |found, res| Ok(res.json(&found.ok_or(404)?))))
}

fn add(store: Store, _req: &Request, res: Response) -> Result<Response, HttpError> {
    Ok(res.body_json(64 * 1024, move |_req, note: Note, res| {
        let news = store.1.clone();
        let push = query(store, move |notes| {
            news.publish(ServerSentEvent::new().data(serde_json::json!(note)));
            notes.push(note);
            notes.len() - 1
        });
        res.offload(push, |n, res| res.status(201).header("location", format!("/api/notes/{n}")))
    }))
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
}

fn list(store: Store, req: &Request, res: Response) -> Result<Response, HttpError> {
    let limit = req.query_as::<Page>()?.limit.unwrap_or(100);
    let first = query(store, move |notes| notes[..limit.min(notes.len())].to_vec());
    Ok(res.offload(first, |notes, res| res.json(&notes)))
}

fn main() -> mio_quiche::Result<()> {
    let store = Store::default();
    let with = |handler: fn(Store, &Request, Response) -> Result<Response, HttpError>| {
        let store = store.clone();
        move |req: &Request, res: Response| handler(store.clone(), req, res)
    };
    let notes = Router::new().get("/", with(list)).get("/:n", with(show)).post("/", with(add));
    let notes = notes.layer(|req, res, next| match req.header("authorization") {
        Some("Bearer secret") => next.run(req, res),
        _ => res.status(401).header("www-authenticate", "Bearer"),
    });
    let events = with(|store, _req, res| Ok(res.event_stream().feed(&store.1, 0)));
    let router = Router::new().nest("/api/notes", notes).get("/events", events);
    let listen = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:4433".to_owned());
    let mut server = settings::with_certificate(|config| Server::bind(&listen, config, router))?;
    println!("listening on {}", server.local_addr());
    server.run()
}
