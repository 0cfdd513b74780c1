//! Milestone 4: routes and handlers, and the loop in a `Server`.

use std::process::ExitCode;

use clap::Parser;
use mio_quiche::{Request, Response, Router, Server};
use serde::Serialize;

#[path = "../exit.rs"]
mod exit;
#[path = "../settings.rs"]
mod settings;

/// Serves a small API.
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
}

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
}

const USERS: [User; 2] = [User { id: 1, name: "Ada" }, User { id: 42, name: "Grace" }];

fn router() -> Router {
    let mut visits = 0;
    Router::new()
        .get("/", |_req, res| res.text("Hello, HTTP/3!\n"))
        .get("/api/users", |_req, res| res.json(&USERS))
        .get("/api/users/:id", user)
        // A parameter is a segment, decoded after the match: %2F does not split it.
        .get("/hello/:name", |req, res| match req.param("name") {
            Some(name) => res.text(format!("Hello, {name}!\n")),
            None => res.status(400).text("the name must be UTF-8\n"),
        })
        // `*` is the rest of the path, including slashes.
        .get("/files/*", |req, res| match req.param("*") {
            Some(path) => res.text(format!("the rest of the path is {path}\n")),
            None => res.status(400),
        })
        // Everything runs on one thread, so a handler may own its state: no lock, no Arc.
        .post("/api/visits", move |_req, res| {
            visits += 1;
            res.status(201).json(&serde_json::json!({ "visits": visits }))
        })
}

fn user(req: &Request, res: Response) -> Response {
    let Some(id) = req.param("id").and_then(|id| id.parse::<u64>().ok()) else {
        return res.status(400).json(&serde_json::json!({ "error": "id must be a number" }));
    };
    match USERS.iter().find(|user| user.id == id) {
        Some(user) => res.json(user),
        None => res.status(404).json(&serde_json::json!({ "error": "no such user" })),
    }
}

fn main() -> ExitCode {
    env_logger::init();
    exit::code(serve(&Args::parse()))
}

fn serve(args: &Args) -> mio_quiche::Result<()> {
    let mut server = settings::with_certificate(|config| Server::bind(&args.listen, config, router()))?;
    println!("listening on {}", server.local_addr());
    server.run()
}
