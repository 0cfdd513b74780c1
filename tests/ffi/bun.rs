//! The package's class `WebTransport` in Bun, with wtransport's server, whose QUIC is not quiche.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use tokio::sync::oneshot;
use wtransport::{Connection, Endpoint, Identity, RecvStream, SendStream, ServerConfig, VarInt};

use crate::abi::{DEADLINE, cert};
use crate::programs::{root, tool};

async fn echo(mut send: SendStream, mut recv: RecvStream) {
    let mut buf = [0; 16 * 1024];
    while let Ok(Some(len)) = recv.read(&mut buf).await {
        send.write_all(&buf[..len]).await.unwrap();
    }
    // It waits for the acknowledgement, which the end of the session may overtake.
    let _ = send.finish().await;
}

async fn say(mut send: SendStream, text: &str) {
    send.write_all(text.as_bytes()).await.unwrap();
    let _ = send.finish().await;
}

/// Sends everything back. A session at `/open` gets a stream of each kind, one at `/close` is closed on a datagram.
async fn serve(session: Connection, path: &str) {
    if path == "/open" {
        say(session.open_uni().await.unwrap().await.unwrap(), "one way\n").await;
        say(session.open_bi().await.unwrap().await.unwrap().0, "both ways\n").await;
    }
    loop {
        tokio::select! {
            Ok(datagram) = session.receive_datagram() => match path {
                "/close" => return session.close(VarInt::from_u32(30), b"wtransport says bye"),
                _ => session.send_datagram(datagram.payload()).unwrap(),
            },
            Ok((send, recv)) = session.accept_bi() => drop(tokio::spawn(echo(send, recv))),
            Ok(recv) = session.accept_uni() => {
                let send = session.open_uni().await.unwrap().await.unwrap();
                tokio::spawn(echo(send, recv));
            }
            else => return,
        }
    }
}

#[test]
fn sessions_in_bun_with_wtransports_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (chain, key) = (file("cert.pem", cert().cert_pem()), file("key.pem", cert().key_pem()));
    let ca = file("ca.pem", cert().ca_pem());
    let (ready, addr) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let identity = Identity::load_pemfiles(chain, key).await.unwrap();
            let config = ServerConfig::builder().with_bind_address("127.0.0.1:0".parse().unwrap());
            let endpoint = Endpoint::server(config.with_identity(identity).build()).unwrap();
            ready.send(endpoint.local_addr().unwrap()).unwrap();
            let accept = async {
                loop {
                    let request = endpoint.accept().await.await.unwrap();
                    let path = request.path().to_owned();
                    tokio::spawn(async move { serve(request.accept().await.unwrap(), &path).await });
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
    });
    let origin = format!("https://{}", addr.recv_timeout(DEADLINE).unwrap());
    let output = Command::new(tool("MIO_QUICHE_BUN"))
        .arg(root().join("src/bun/test/peers/wtransport_program.ts"))
        .arg(origin)
        .arg(ca)
        .env("MIO_QUICHE_LIBRARY", tool("MIO_QUICHE_LIBRARY"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let _ = stop.send(());
    server.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is right\n");
}
