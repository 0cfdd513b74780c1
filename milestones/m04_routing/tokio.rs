//! tokio beside the loop: a runtime on a thread of its own answers requests and publishes. Argument: `--listen ADDR:PORT`.

use std::future::pending;
use std::thread;
use std::time::Duration;

use mio_quiche::{Response, Result, Router, Server, ServerSentEvent, Topic};
use tokio::runtime::{Builder, Handle};
use tokio::time::{interval, sleep, timeout};

#[path = "../settings.rs"]
mod settings;

/// Stands for what is asynchronous, such as a query by the driver of a database.
async fn query(ms: u64) -> String {
    sleep(Duration::from_millis(ms)).await;
    format!("rows after {ms} ms\n")
}

/// Answers with the rows, or with 504 after a second.
fn answer(tokio: &Handle, ms: u64, res: Response) -> Response {
    let tokio = tokio.clone();
    res.later(move |reply| {
        tokio.spawn(async move {
            let rows = tokio::select! {
                rows = timeout(Duration::from_secs(1), query(ms)) => rows,
                // The client is gone, and the query is dropped.
                () = reply.cancelled() => return,
            };
            reply.send(|res| match rows {
                Ok(rows) => res.text(rows),
                Err(_) => res.status(504),
            });
        });
    })
}

/// Publishes an event each tenth of a second.
async fn tick(ticks: Topic) {
    let mut every = interval(Duration::from_millis(100));
    for n in 0u64.. {
        every.tick().await;
        ticks.publish(ServerSentEvent::new().data(n));
    }
}

fn main() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (tokio, ticks) = (runtime.handle().clone(), Topic::new());
    tokio.spawn(tick(ticks.clone()));
    thread::spawn(move || runtime.block_on(pending::<()>()));
    let router = Router::new()
        .get("/query/:ms", move |req, res| Ok(answer(&tokio, req.param_as("ms")?, res)))
        .get("/ticks", move |_req, res| res.event_stream().feed(&ticks, 0));
    let listen = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:4433".to_owned());
    let mut server = settings::with_certificate(|config| Server::bind(&listen, config, router))?;
    println!("listening on {}", server.local_addr());
    server.run()
}
