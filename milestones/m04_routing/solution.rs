//! A solution of milestone 4's exercise: users can be deleted.

use std::cell::RefCell;
use std::rc::Rc;

use mio_quiche::{Request, Router};
use serde::Serialize;

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
}

/// The id in the path, if it is a number.
fn id(req: &Request) -> Option<u64> {
    req.param("id")?.parse().ok()
}

pub(crate) fn router() -> Router {
    let users = vec![User { id: 1, name: "Ada" }, User { id: 42, name: "Grace" }];
    let all = Rc::new(RefCell::new(users));
    let (one, gone) = (all.clone(), all.clone());
    Router::new()
        .get("/api/users", move |_req, res| res.json(&*all.borrow()))
        .get("/api/users/:id", move |req, res| match one.borrow().iter().find(|user| Some(user.id) == id(req)) {
            Some(user) => res.json(user),
            None => res.status(404),
        })
        .delete("/api/users/:id", move |req, res| {
            let mut users = gone.borrow_mut();
            let before = users.len();
            users.retain(|user| Some(user.id) != id(req));
            res.status(if users.len() < before { 204 } else { 404 })
        })
}
