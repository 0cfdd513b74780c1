//! Clients used by other threads.

use super::{Client, ClientCall};
use crate::app::mailbox::{Mailbox, Message};
use crate::error::PostError;

/// A handle of a client for other threads: see [`Client::handle`].
#[derive(Clone, Debug)]
pub struct ClientHandle {
    pub(super) calls: Mailbox<ClientCall>,
}

impl ClientHandle {
    /// Calls `call` on the client's thread, at the end of a [turn](Client::turn), whose sleep it ends. Up to 16384 calls
    /// wait; those of a thread arrive in their order.
    ///
    /// # Errors
    /// [`PostError`].
    pub fn post(&self, call: impl FnOnce(&mut Client) + Send + 'static) -> Result<(), PostError> {
        self.calls.post(Box::new(call))
    }
}

impl Client {
    /// A handle by which other threads use the client.
    ///
    /// ```no_run
    /// use std::sync::mpsc::channel;
    ///
    /// use mio_quiche::{Client, ClientConfig};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let (sender, handle) = channel();
    ///     std::thread::spawn(move || -> mio_quiche::Result<()> {
    ///         let mut client = Client::new(ClientConfig::default())?;
    ///         let _ = sender.send(client.handle());
    ///         loop {
    ///             client.turn(None)?;
    ///         }
    ///     });
    ///     let (sender, size) = channel();
    ///     handle.recv()?.post(move |client| {
    ///         let response = client.get("https://example.com/");
    ///         let _ = sender.send(response.map(|response| response.body.len()));
    ///     })?;
    ///     println!("{} bytes", size.recv()??);
    ///     Ok(())
    /// }
    /// ```
    pub fn handle(&self) -> ClientHandle {
        ClientHandle { calls: self.calls.clone() }
    }

    pub(super) fn run_calls(&mut self) {
        for message in self.calls.take() {
            if let Message::Call(call) = message {
                call(self);
            }
        }
    }
}
