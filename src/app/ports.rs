//! The TCP ports of a server: the admin port and the redirect port.

use std::net::SocketAddr;

use super::admin::{Admin, Loops, Page, admin_origins};
use super::redirect::{Redirect, Tls};
use super::router::Router;
use crate::config::{Certificate, ServerConfig};
use crate::error::Result;

/// What a server's settings say about the ports.
pub(super) struct Settings {
    certificates: Vec<Certificate>,
    admin: Option<SocketAddr>,
    redirect: Option<SocketAddr>,
    allow_origins: Vec<String>,
    is_demo: bool,
}

/// The open ports.
#[derive(Debug, Default)]
pub(super) struct Ports {
    admin: Option<Admin>,
    redirect: Option<Redirect>,
}

/// Updates what the ports show and use of the server's certificates.
#[derive(Clone, Debug)]
pub(super) struct Reloader {
    page: Option<Page>,
    tls: Option<Tls>,
}

impl Reloader {
    /// Reads the certificates again.
    ///
    /// # Errors
    /// A certificate that cannot be read.
    pub(super) fn reload(&self) -> Result<()> {
        self.page.as_ref().map_or(Ok(()), Page::reload)?;
        self.tls.as_ref().map_or(Ok(()), Tls::reload)
    }
}

impl Settings {
    pub(super) fn of(config: &ServerConfig, router: &Router) -> Self {
        Settings {
            certificates: config.certificates.clone(),
            admin: config.admin,
            redirect: config.redirect,
            allow_origins: config.webtransport.allow_origins.clone(),
            is_demo: router.is_demo,
        }
    }
}

impl Ports {
    /// Opens the ports of a server at `server`.
    ///
    /// # Errors
    /// An address that cannot be bound, or a certificate that cannot be read.
    pub(super) fn open(settings: Settings, server: SocketAddr, loops: &Loops) -> Result<Self> {
        let Settings { certificates, admin, redirect, allow_origins, is_demo } = settings;
        let sockets = is_demo.then_some(allow_origins);
        let admin = admin.zip(certificates.first().cloned());
        let admin = admin.map(|(addr, first)| Admin::open(addr, first, server, loops.clone(), sockets)).transpose()?;
        let redirect = redirect.map(|addr| Redirect::open(addr, certificates, server)).transpose()?;
        Ok(Ports { admin, redirect })
    }

    pub(super) fn reloader(&self) -> Reloader {
        Reloader { page: self.admin.as_ref().map(Admin::page), tls: self.redirect.as_ref().map(Redirect::tls) }
    }

    /// The origins of the admin port's page.
    pub(super) fn origins(&self) -> Vec<String> {
        self.admin_addr().map(admin_origins).unwrap_or_default()
    }

    pub(super) fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::local_addr)
    }

    pub(super) fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect.as_ref().map(Redirect::local_addr)
    }
}
