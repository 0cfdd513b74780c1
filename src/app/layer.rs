//! Layers: what happens before and after the handlers of a router.

use std::cell::RefCell;
use std::rc::Rc;

use super::response::Response;
use crate::h3::Request;

/// A layer, shared by the routes that it is around.
pub(super) type Layer = Rc<RefCell<dyn FnMut(&mut Request, Response, Next<'_>) -> Response>>;

/// What a layer is around: the layers that follow, and the handler. See [`Router::layer`](crate::Router::layer).
pub struct Next<'a> {
    /// Of the router that was called.
    outer: &'a [Layer],
    /// Of the router that the route comes from.
    inner: &'a [Layer],
    handler: &'a mut dyn FnMut(&Request, Response) -> Response,
}

impl std::fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("layers", &(self.outer.len() + self.inner.len())).finish_non_exhaustive()
    }
}

impl<'a> Next<'a> {
    pub(super) fn new(
        outer: &'a [Layer],
        inner: &'a [Layer],
        handler: &'a mut dyn FnMut(&Request, Response) -> Response,
    ) -> Self {
        Next { outer, inner, handler }
    }

    /// Calls what follows, with the response that it begins with, and returns the response that it made.
    ///
    /// A response that is given later, or streamed, is not there yet: fields that are set on it now are those that it
    /// will begin with.
    pub fn run(self, request: &mut Request, response: Response) -> Response {
        let Next { outer, inner, handler } = self;
        let (layer, outer, inner) = match (outer, inner) {
            ([layer, outer @ ..], inner) => (layer, outer, inner),
            ([], [layer, inner @ ..]) => (layer, outer, inner),
            ([], []) => return handler(request, response),
        };
        // A layer comes once in a chain.
        (layer.borrow_mut())(request, response, Next { outer, inner, handler })
    }
}
