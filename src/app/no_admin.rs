//! In place of the admin port, without the feature `admin`: no server has one.

use std::net::SocketAddr;

use crate::config::ServerConfig;
use crate::error::Result;
use crate::net::EventLoop;

#[derive(Debug)]
pub(super) enum Admin {}

impl Admin {
    pub(super) fn asked_for(_: &ServerConfig) -> Option<Self> {
        None
    }

    pub(super) fn open(self, _: &EventLoop) -> Result<Self> {
        match self {}
    }

    pub(super) fn origins(&self) -> Vec<String> {
        match *self {}
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        match *self {}
    }

    pub(super) fn reload(&self) -> Result<()> {
        match *self {}
    }
}
