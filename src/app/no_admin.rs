//! In place of the admin port, without the feature `admin`: no server has one.

use std::net::SocketAddr;
#[cfg(feature = "workers")]
use std::sync::OnceLock;

use crate::config::ServerConfig;
use crate::error::Result;

#[derive(Clone, Debug, Default)]
pub(super) struct Loops(());

#[derive(Debug)]
pub(super) enum Admin {}

#[derive(Clone, Debug)]
pub(super) enum Reloader {}

impl Reloader {
    pub(super) fn reload(&self) -> Result<()> {
        match *self {}
    }
}

impl Admin {
    pub(super) fn settings(_: &ServerConfig) -> Option<Self> {
        None
    }

    pub(super) fn open(self, _: SocketAddr, _: Loops) -> Result<Self> {
        match self {}
    }

    pub(super) fn origins(&self) -> Vec<String> {
        match *self {}
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        match *self {}
    }

    pub(super) fn page(&self) -> &Reloader {
        match *self {}
    }

    #[cfg(feature = "workers")]
    pub(super) fn share_page(&self, _: &OnceLock<Reloader>) {
        match *self {}
    }
}
