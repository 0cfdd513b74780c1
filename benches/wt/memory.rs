//! Sessions that only exist, to see what they cost the server.

use std::time::Duration;

use tokio::time::timeout;
use wtransport::Connection;
use wtransport::quinn;

use crate::{Result, client};

/// How long an answer may take; a server that knows one session per connection gives none.
const SESSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections with so many sessions each, says `ready`, and keeps them.
pub(crate) async fn idle(url: &str, connections: u32, sessions: u32, hold: Duration) -> Result<()> {
    let rest = url.strip_prefix("https://").ok_or("the URL must begin with https://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let connect = connect_head(authority, if path.is_empty() { "/" } else { path });
    let endpoint = client::endpoint()?;
    let mut open = Vec::new();
    for _ in 0..connections {
        let connection = endpoint.connect(url).await?;
        let mut further = Vec::new();
        for _ in 1..sessions {
            let session = timeout(SESSION_TIMEOUT, session(&connection, &connect)).await;
            further.push(session.map_err(|_| "no answer to a further session")??);
        }
        open.push((connection, further));
    }
    println!("ready");
    tokio::time::sleep(hold).await;
    match open.iter().find_map(|(connection, _)| connection.quic_connection().close_reason()) {
        Some(reason) => Err(format!("a connection was lost: {reason}").into()),
        None => Ok(()),
    }
}

/// One more session on a connection, past wtransport, which knows of one only.
async fn session(connection: &Connection, connect: &[u8]) -> Result<(quinn::SendStream, quinn::RecvStream)> {
    let (mut send, mut recv) = connection.quic_connection().open_bi().await?;
    send.write_all(connect).await?;
    let mut head = [0; 5];
    recv.read_exact(&mut head).await?;
    // HEADERS, its length, an empty QPACK prefix, and `:status: 200`, which is entry 25 of the static table.
    if head[0] != 1 || head[2..] != [0, 0, 0xc0 | 25] {
        return Err(format!("a further session was not accepted, the answer begins with {head:02x?}").into());
    }
    Ok((send, recv))
}

/// The HEADERS frame of an extended CONNECT, all its fields literals (RFC 9204 section 4.5.6).
fn connect_head(authority: &str, path: &str) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        (":protocol", "webtransport"),
    ];
    let mut section = vec![0, 0];
    for (name, value) in fields {
        // The length of a name has 3 bits here, that of a value 7, and these names and values are that short or so long
        // that one further byte holds the rest.
        section.push(0x20 | name.len().min(7) as u8);
        if name.len() >= 7 {
            section.push((name.len() - 7) as u8);
        }
        section.extend_from_slice(name.as_bytes());
        section.push(value.len() as u8);
        section.extend_from_slice(value.as_bytes());
    }
    let mut frame = vec![1, 0x40 | (section.len() >> 8) as u8, section.len() as u8];
    frame.append(&mut section);
    frame
}
