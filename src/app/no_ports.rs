//! In place of the TCP ports, without the feature `admin`: no server has one.

use std::net::SocketAddr;

use super::router::Router;
use crate::config::ServerConfig;
use crate::error::Result;

#[derive(Clone, Debug, Default)]
pub(super) struct Loops(());

pub(super) struct Settings(());

#[derive(Debug, Default)]
pub(super) struct Ports(());

#[derive(Clone, Debug)]
pub(super) struct Reloader(());

impl Settings {
    pub(super) fn of(_: &ServerConfig, router: &Router) -> Self {
        // Only an admin port asks for it.
        let _ = router.is_demo;
        Settings(())
    }
}

impl Reloader {
    #[expect(clippy::unnecessary_wraps, reason = "as with the ports")]
    pub(super) fn reload(&self) -> Result<()> {
        Ok(())
    }
}

impl Ports {
    #[expect(clippy::unnecessary_wraps, reason = "as with the ports")]
    pub(super) fn open(_: Settings, _: SocketAddr, _: &Loops) -> Result<Self> {
        Ok(Ports(()))
    }

    pub(super) fn reloader(&self) -> Reloader {
        Reloader(())
    }

    pub(super) fn origins(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn admin_addr(&self) -> Option<SocketAddr> {
        None
    }

    pub(super) fn redirect_addr(&self) -> Option<SocketAddr> {
        None
    }
}
