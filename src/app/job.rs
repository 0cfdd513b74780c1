//! Blocking work that makes the answer to a request.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::offload::Pool;
use super::response::{Answer, Reply};

/// Runs work that [may be taken](Pool::check), unless the client is gone when its turn comes.
pub(super) fn start(pool: &Pool, work: Box<dyn FnOnce() -> Answer + Send>, reply: Reply) {
    pool.spawn(move || {
        if !reply.is_cancelled() {
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(answer) => reply.send(answer),
                // The loop counts it, with the route.
                Err(panic) => reply.send(|_| resume_unwind(panic)),
            }
        }
    });
}
