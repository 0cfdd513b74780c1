//! s2n-quic with h3.

use s2n_quic::Server;

use crate::{Cli, Result, h3_server, s2n_h3};

pub(crate) async fn run(cli: &Cli) -> Result<()> {
    let mut server =
        Server::builder().with_tls((cli.cert.as_path(), cli.key.as_path()))?.with_io(cli.listen)?.start()?;
    println!("listening on {}", server.local_addr()?);
    while let Some(connection) = server.accept().await {
        tokio::spawn(h3_server::serve(s2n_h3::Connection::new(connection)));
    }
    Ok(())
}
