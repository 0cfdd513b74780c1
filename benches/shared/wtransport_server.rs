//! A server's endpoint on wtransport.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wtransport::endpoint::endpoint_side;
use wtransport::{Endpoint, Identity, ServerConfig};

/// Binds it and prints `listening on ADDR:PORT`.
pub(crate) async fn bind(
    listen: SocketAddr,
    cert: PathBuf,
    key: PathBuf,
) -> Result<Endpoint<endpoint_side::Server>, Box<dyn Error + Send + Sync>> {
    let config = ServerConfig::builder()
        .with_bind_address(listen)
        .with_identity(Identity::load_pemfiles(cert, key).await?)
        .max_idle_timeout(Some(Duration::from_secs(30)))?
        .build();
    let endpoint = Endpoint::server(config)?;
    println!("listening on {}", endpoint.local_addr()?);
    Ok(endpoint)
}
