"""What no decent client sends."""

import time

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import FrameType, encode_frame
from client import BIDI_SIGNAL, CLOSE_CAPSULE, UNI_TYPE, Client, capsule, close_capsule, data_frame


def malformed_datagrams(url):
    found = []
    for data in (b"", b"\x40", b"\xc0\x00\x00", (2**60 | 3 << 62).to_bytes(8, "big"), b"\xff" * 8 + b"payload"):
        for with_session in (False, True):
            client = Client(url)
            if with_session:
                session = client.session("/wt/echo")
                client.echo(session, "alive")
            else:
                client.get("/")
            client.quic.send_datagram_frame(data)
            found.append(client.closed_with())
    return found


def bad_session_ids(url):
    """Session ids that are not those of a client's bidirectional streams."""
    found = []
    for session in (1, 2, 3, 4 * 100 + 1):
        for uni in (False, True):
            client = Client(url)
            client.session("/wt/echo")
            if uni:
                client.uni(session, b"x")
            else:
                client.bidi(session, b"x")
            found.append(client.closed_with())
    return found


def bad_closes(url):
    """CLOSE capsules that are malformed: the session's stream is reset, the connection goes on."""
    client = Client(url)
    found = []
    for value in (
        bytes(4) + b"a" * 1025,
        bytes(4) + b"\xff\xfe",
        # Cut within a character.
        bytes(4) + "é".encode()[:1],
        # Too short for a code.
        bytes(3),
        b"",
    ):
        session = client.session("/wt/echo")
        client.echo(session, "alive")
        client.send(session, data_frame(capsule(CLOSE_CAPSULE, value)))
        found.append(client.reset_code(session))
    # A length that nobody would read to its end.
    session = client.session("/wt/echo")
    client.send(session, data_frame(encode_uint_var(CLOSE_CAPSULE) + encode_uint_var(2**62 - 1)))
    found.append(client.reset_code(session))
    works = client.session("/wt/echo")
    result = {"resets": found, "echo": client.echo(works, "alive"), "get": client.get("/")}
    client.close()
    return result


def cut_capsules(url):
    """Ends of a session's stream within a capsule: no CLOSE capsule was there, but it is no clean end either."""
    client = Client(url)
    whole = close_capsule(1, b"cut")
    found = []
    for part in (whole[:1], whole[:3], whole[:-1], capsule(0x17, b"unknown")[:-1]):
        session = client.session("/wt/echo")
        client.send(session, data_frame(part), fin=True)
        found.append(client.reset_code(session))
    result = {"resets": found, "get": client.get("/")}
    client.close()
    return result


def data_after_close(url):
    """Bytes after a CLOSE capsule (draft-ietf-webtrans-http3 section 6): H3_MESSAGE_ERROR on the session's stream."""
    client = Client(url)
    session = client.session("/wt/echo")
    client.send(session, data_frame(close_capsule(9, b"closed") + b"more"))
    client.until("an end", lambda: client.stream(session).fin or client.stream(session).reset is not None)
    stream = client.stream(session)
    found = {"reset": stream.reset, "fin": stream.fin, "get": client.get("/")}
    client.close()
    return found


def signal_later(url):
    """0x41 behind the head of a request or of a session closes the connection with H3_FRAME_ERROR."""
    found = []
    signal = encode_uint_var(BIDI_SIGNAL) + encode_uint_var(0) + b"payload"
    # At once and later.
    for wait in (False, True):
        for path, method in (("/upload", "POST"), ("/wt/echo", "CONNECT")):
            client = Client(url)
            if method == "POST":
                client.session("/wt/echo")
                stream = client.request(path, method=method, fin=False)
            else:
                stream = client.connect(path)
            if wait:
                client.settle()
            client.send(stream, signal)
            found.append(client.closed_with())
    return found


def prohibited_capsules(url):
    """WT_MAX_STREAM_DATA and WT_STREAM_DATA_BLOCKED have no place in HTTP/3."""
    client = Client(url)
    found = []
    for kind in (0x190B4D3E, 0x190B4D42):
        session = client.session("/wt/echo")
        client.echo(session, "alive")
        client.send(session, data_frame(capsule(kind, b"\x00\x00")))
        client.until("the session's end", lambda: client.stream(session).fin or client.stream(session).reset)
        stream = client.stream(session)
        found.append([stream.reset, client.closed_session(session) if stream.fin else None])
    works = client.session("/wt/echo")
    result = {"ends": found, "echo": client.echo(works, "alive")}
    client.close()
    return result


def cut_headers(url):
    """Streams that end within the header of a WebTransport stream are no one's; the connection goes on."""
    client = Client(url)
    session = client.session("/wt/echo")
    for header in (encode_uint_var(UNI_TYPE), encode_uint_var(UNI_TYPE)[:1], encode_uint_var(UNI_TYPE) + b"\x40"):
        client.send(client.uni_id(), header, fin=True)
    client.settle()
    result = {"echo": client.echo(session, "alive"), "get": client.get("/")}
    client.close()
    return result


def settings_in_a_session(url):
    """A SETTINGS frame on a session's stream closes the connection with H3_FRAME_UNEXPECTED."""
    client = Client(url)
    session = client.session("/wt/echo")
    client.send(session, encode_frame(FrameType.SETTINGS, b""))
    return client.closed_with()


def first_packet(url, seconds):
    """Nothing but the first packet: bytes that it has, and bytes that come for it in so many seconds."""
    client = Client(url, ready=False)
    packet, _ = client.quic.datagrams_to_send(now=time.monotonic())[0]
    client.socket.send(packet)
    came, until = 0, time.monotonic() + float(seconds)
    while (patience := until - time.monotonic()) > 0:
        client.socket.settimeout(patience)
        try:
            came += len(client.socket.recv(65536))
        except TimeoutError:
            pass
    return {"sent": len(packet), "came": came}


CASES = {
    "first-packet": first_packet,
    "malformed-datagrams": malformed_datagrams,
    "bad-session-ids": bad_session_ids,
    "bad-closes": bad_closes,
    "cut-capsules": cut_capsules,
    "data-after-close": data_after_close,
    "signal-later": signal_later,
    "prohibited-capsules": prohibited_capsules,
    "cut-headers": cut_headers,
    "settings-in-a-session": settings_in_a_session,
}
