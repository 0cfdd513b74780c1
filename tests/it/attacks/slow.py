"""Clients that are slow on purpose."""

import time

from attack import Attack
from flooder import Flooder
from peer import POST, headers, max_stream_data, request, request_section, varint

CONNECTIONS, STREAMS = 50, 20
# How long a head or a body may take at most, in seconds, to be gone within the attack.
DEADLINE = 30


def trickle(first, byte):
    """Requests of which a byte comes each second."""

    def act(url, until):
        peers = [Flooder(url) for _ in range(CONNECTIONS)]
        for peer in peers:
            for _ in range(STREAMS):
                peer.put(peer.open(first))
        while time.monotonic() < until:
            following = time.monotonic() + 1
            for peer in peers:
                if peer.close_frame() is None:
                    for stream_id in range(0, 4 * STREAMS, 4):
                        peer.put(peer.more(stream_id, byte))
            while time.monotonic() < following:
                for peer in peers:
                    peer.poll()
                time.sleep(0.02)
        gone = sum(
            STREAMS if peer.close_frame() is not None else min(STREAMS, sum(peer.resets.values())) for peer in peers
        )
        for peer in peers:
            peer.end()
        return {"gone": gone, "all": CONNECTIONS * STREAMS}

    return act


def without_window(url):
    """A peer that lets no response come."""

    def change(parameters):
        parameters.initial_max_stream_data_bidi_local = 0

    return Flooder(url, parameters=change)


def keep(peers, until, pause):
    """Keeps connections open by a PING now and then, and ends them."""
    while time.monotonic() < until:
        for peer in peers:
            peer.put(b"\x01")
            peer.poll()
        time.sleep(pause)
    for peer in peers:
        peer.end()
    return {"connections": len(peers)}


def closed_windows(url, until):
    """Downloads of which the client lets nothing come."""
    peers = []
    while time.monotonic() < until and len(peers) < 20:
        peer = without_window(url)
        while (frame := peer.open(request("/stream/1000000000?checksum=off"), True)) is not None:
            peer.put(frame)
        peers.append(peer)
    return keep(peers, until, 0.1)


def byte_by_byte(url, until):
    """A window that opens by a byte at a time."""
    peer = without_window(url)
    peer.put(peer.open(request("/stream/1000000000?checksum=off"), True))
    window = 0

    def make():
        nonlocal window
        window += 1
        return max_stream_data(0, window)

    return peer.flood(make, until, burst=4)


def idle(url, until):
    """Open connections and requests that nothing happens on but a PING now and then."""
    peers = []
    while time.monotonic() < until and len(peers) < 200:
        peer = Flooder(url)
        for _ in range(2):
            peer.put(peer.open(request("/upload", POST)))
        peers.append(peer)
    return keep(peers, until, 0.5)


# It is exceeded by a quarter at most.
REQUEST_TIMEOUT = ("--request-timeout", str(DEADLINE * 3 // 4))
ALL_GONE = {"gone": CONNECTIONS * STREAMS}
HEAD = headers(b"")[:1] + varint(5000) + request_section()[:4]
BODY = request("/upload", POST) + b"\0" + varint(100_000)

ATTACKS = [
    Attack(
        "slow-heads", "1000 requests whose heads come a byte a second (slowloris)", trickle(HEAD, b"\xc1"),
        found=ALL_GONE, seconds=DEADLINE + 5, memory=32, quick=False, server=REQUEST_TIMEOUT,
    ),
    Attack(
        "slow-bodies", "1000 requests whose bodies come a byte a second", trickle(BODY, b"x"), found=ALL_GONE,
        seconds=DEADLINE + 5, memory=100, quick=False, server=REQUEST_TIMEOUT,
    ),
    Attack("closed-windows", "downloads with a window of 0", closed_windows, memory=100),
    Attack("window-byte-by-byte", "a download whose window opens by a byte at a time", byte_by_byte),
    Attack("idle", "connections with open requests and nothing but a PING now and then", idle, memory=48),
]
