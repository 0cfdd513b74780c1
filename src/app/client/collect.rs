//! The handler of requests whose responses are kept in memory or saved as a whole.

use std::path::PathBuf;
use std::sync::mpsc::Sender;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::error::ClientError;
use super::file::PartFile;
use super::request::{ClientRequest, ResponseHandler};
use super::response::ClientResponse;
use crate::app::stream_handler::Progress;
use crate::endpoint::Stream;
use crate::error::{Error, Result};
use crate::h3::{Recv, ResponseHead};

/// The largest response that is kept in memory, in bytes.
const MAX_IN_MEMORY: u64 = 64 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) type Fetched = std::result::Result<ClientResponse, ClientError>;

pub(super) struct Collect {
    /// The request's body.
    body: Bytes,
    /// The rest of it.
    unsent: Bytes,
    save_to: Option<PathBuf>,
    url: String,
    head: Option<ResponseHead>,
    received: BytesMut,
    file: Option<PartFile>,
    trailers: HeaderMap,
    done: Sender<Fetched>,
}

impl Collect {
    /// Tells `done` the result once.
    pub(super) fn new(request: &ClientRequest, done: Sender<Fetched>) -> Self {
        Collect {
            body: request.body.clone(),
            unsent: request.body.clone(),
            save_to: request.save_to.clone(),
            url: request.url().to_owned(),
            head: None,
            received: BytesMut::new(),
            file: None,
            trailers: HeaderMap::new(),
            done,
        }
    }

    fn take_chunk(&mut self, chunk: &[u8]) -> std::result::Result<(), ClientError> {
        if let Some(file) = &mut self.file {
            return file.write(chunk);
        }
        self.received.extend_from_slice(chunk);
        match self.received.len() as u64 > MAX_IN_MEMORY {
            true => Err(ClientError::TooLarge(MAX_IN_MEMORY)),
            false => Ok(()),
        }
    }
}

impl ResponseHandler for Collect {
    fn redirected(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    fn response(&mut self, _: &mut Stream<'_>, head: &ResponseHead) -> Result<()> {
        if let Some(path) = self.save_to.as_ref().filter(|_| head.status.is_success()) {
            self.file = Some(PartFile::create(path).map_err(Error::handler)?);
        }
        self.head = Some(head.clone());
        Ok(())
    }

    fn poll(&mut self, s: &mut Stream<'_>) -> Result<Progress> {
        if s.is_sending() {
            s.finish_with(&mut self.unsent)?;
        }
        loop {
            match s.read_chunk(CHUNK)? {
                Recv::Data(chunk) => self.take_chunk(&chunk).map_err(Error::handler)?,
                Recv::Pending => return Ok(Progress::Pending),
                Recv::Finished => break,
            }
        }
        self.trailers = s.trailers().cloned().unwrap_or_default();
        if let Some(file) = self.file.take() {
            file.complete().map_err(Error::handler)?;
        }
        Ok(Progress::Done)
    }

    fn restart(&mut self) -> bool {
        self.unsent = self.body.clone();
        true
    }

    fn finished(&mut self, result: std::result::Result<(), ClientError>) {
        let result = result.and_then(|()| {
            let ResponseHead { status, headers } = self.head.take().ok_or(ClientError::Cancelled)?;
            let (body, trailers) = (std::mem::take(&mut self.received).freeze(), std::mem::take(&mut self.trailers));
            Ok(ClientResponse { status, headers, body, trailers, url: std::mem::take(&mut self.url) })
        });
        // Fails only if the caller has stopped waiting.
        let _ = self.done.send(result);
    }
}
