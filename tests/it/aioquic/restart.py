"""A server that restarts in the middle of a connection."""

import pathlib
import time

from client import DEADLINE, Client


def reset(url, ready, restarted):
    """Says by a file that the connection is there, waits for another file, and sends a PING to the new server.

    aioquic 1.3 keeps the reset token and never compares it, so that is done here.
    """
    client = Client(url)
    status = client.get("/")[0]
    client.settle()
    token = client.quic._peer_cid.stateless_reset_token
    pathlib.Path(ready).touch()
    deadline = time.monotonic() + DEADLINE
    while not pathlib.Path(restarted).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    client.quic.send_ping(1)
    sent = time.monotonic()
    client.flush()
    client.withhold()
    took = time.monotonic() - sent
    (packet,) = client.withheld
    client.release()
    client.receive()
    return {
        "status": status,
        "length": len(packet),
        "short header": packet[0] & 0xC0 == 0x40,
        "token": packet[-16:] == token,
        "soon": took < DEADLINE / 4,
        "noticed by aioquic": client.closed is not None,
    }


CASES = {"reset": reset}
