//! The calls of a client that wait for whole responses.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::Client;
use super::collect::{Collect, Fetched};
use super::error::ClientError;
use super::request::{ClientRequest, RequestId};
use super::response::ClientResponse;

impl Client {
    /// GET, and waits for the whole response.
    ///
    /// # Errors
    /// As [`fetch`](Client::fetch).
    pub fn get(&mut self, url: &str) -> Result<ClientResponse, ClientError> {
        self.fetch(ClientRequest::get(url)?)
    }

    /// Sends a request and waits for the whole response: of at most 64 MiB, or of any length in a
    /// [file](ClientRequest::save_to). Redirects are [followed](ClientRequest::max_redirects), at most 10 unless the
    /// settings or the request say otherwise.
    ///
    /// # Errors
    /// Any failure to get a response. An error status is a response, see
    /// [`error_for_status`](ClientResponse::error_for_status).
    pub fn fetch(&mut self, request: ClientRequest) -> Result<ClientResponse, ClientError> {
        self.fetch_all([request], 1).next().unwrap_or(Err(ClientError::Cancelled))
    }

    /// Sends many requests, `limit` at a time (at least one), and gives their results in the order of the requests, each as
    /// [`fetch`](Client::fetch) does. A failed request does not affect the others.
    ///
    /// ```no_run
    /// use mio_quiche::{Client, ClientConfig, ClientRequest};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut client = Client::new(ClientConfig::default())?;
    /// let pages = (1..=1000).map(|n| ClientRequest::get(&format!("https://example.com/page/{n}")));
    /// let pages = pages.collect::<Result<Vec<_>, _>>()?;
    /// for (n, response) in client.fetch_all(pages, 20).enumerate() {
    ///     match response {
    ///         Ok(response) => println!("{}: {}, {} bytes", n + 1, response.status, response.body.len()),
    ///         Err(error) => println!("{}: {error}", n + 1),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// Requests progress while [`next`](Iterator::next) waits. At most `limit` of them run or wait for theirs to be taken,
    /// so that memory holds no more than `limit` responses; a request is taken from `requests` when it is its turn.
    /// Dropping the iterator cancels those under way.
    pub fn fetch_all<I>(&mut self, requests: I, limit: usize) -> FetchAll<'_, I::IntoIter>
    where
        I: IntoIterator<Item = ClientRequest>,
    {
        FetchAll {
            client: self,
            requests: requests.into_iter().fuse(),
            limit: limit.max(1),
            under_way: VecDeque::new(),
        }
    }
}

/// Responses in the order of their requests: the iterator of [`Client::fetch_all`].
#[derive(Debug)]
pub struct FetchAll<'a, I> {
    client: &'a mut Client,
    requests: std::iter::Fuse<I>,
    limit: usize,
    under_way: VecDeque<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    id: RequestId,
    result: Receiver<Fetched>,
}

impl<I: Iterator<Item = ClientRequest>> FetchAll<'_, I> {
    fn start_more(&mut self) {
        while self.under_way.len() < self.limit
            && let Some(mut request) = self.requests.next()
        {
            let (done, result) = channel();
            request.max_redirects = request.max_redirects.or(Some(self.client.max_redirects));
            let collect = Collect::new(&request, done);
            let id = self.client.start(request, collect);
            self.under_way.push_back(UnderWay { id, result });
        }
    }
}

impl<I: Iterator<Item = ClientRequest>> Iterator for FetchAll<'_, I> {
    type Item = Result<ClientResponse, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.start_more();
        let first = self.under_way.front()?;
        loop {
            let result = match first.result.try_recv() {
                Ok(result) => result,
                Err(TryRecvError::Disconnected) => Err(ClientError::Cancelled),
                Err(TryRecvError::Empty) if self.client.signals() > 0 => {
                    self.client.cancel(first.id);
                    continue;
                }
                Err(TryRecvError::Empty) => match self.client.turn(None) {
                    Ok(()) => continue,
                    Err(error) => {
                        self.client.cancel(first.id);
                        Err(error.into())
                    }
                },
            };
            self.under_way.pop_front();
            return Some(result);
        }
    }
}

impl<I: Iterator<Item = ClientRequest>> FusedIterator for FetchAll<'_, I> {}

impl<I> Drop for FetchAll<'_, I> {
    fn drop(&mut self) {
        for UnderWay { id, .. } in self.under_way.drain(..) {
            self.client.cancel(id);
        }
    }
}
