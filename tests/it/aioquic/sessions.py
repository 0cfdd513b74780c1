"""Sessions that go as they should."""

import hashlib
import json
import time

from aioquic.buffer import encode_uint_var
from client import BIDI_SIGNAL, UNI_TYPE, Client, capsule, close_capsule, data_frame, wire_code


def two_sessions_and_a_get(url):
    client = Client(url)
    sessions = [client.session("/wt/echo"), client.session("/wt/echo")]
    found = []
    # All at once, before any answer is looked at.
    bidi = [client.bidi(session, f"bidi of {session}".encode(), fin=True) for session in sessions]
    for session in sessions:
        client.uni(session, f"uni of {session}".encode(), fin=True)
        client.send_datagram(session, f"datagram of {session}".encode())
    page = client.get("/")
    for session, stream in zip(sessions, bidi):
        answers = client.server_streams(session, 1, uni=True)
        found.append(
            {
                "session": session,
                "bidi": client.finished(stream),
                "uni": [client.streams[answer].text for answer in answers],
                "datagrams": client.datagrams_of(session, 1),
            }
        )
    for session in sessions:
        client.end_session(session)
    client.close()
    return {"get": page, "sessions": found}


def before_connect(url):
    """Streams and datagrams that come before the CONNECT of their session."""
    client = Client(url)
    session = client.reserve()
    bidi = client.bidi(session, b"early bidi", fin=True)
    later = client.bidi(session, b"early and ")
    client.uni(session, b"early uni", fin=True)
    for n in range(3):
        client.send_datagram(session, f"early {n}".encode())
    client.settle()
    client.session("/wt/echo", stream_id=session)
    client.send(later, b"late", fin=True)
    answers = client.server_streams(session, 1, uni=True)
    found = {
        "bidi": [client.finished(bidi), client.finished(later)],
        "uni": [client.streams[answer].text for answer in answers],
        "datagrams": client.datagrams_of(session, 3),
    }
    client.close()
    return found


def stream_header_bytewise(url):
    """Each byte of a stream's header and payload in a packet of its own, then nothing but a FIN."""
    client = Client(url)
    # Stream 0, so that the session's id is not 0.
    page = client.get("/")
    session = client.session("/wt/echo")
    bidi = client.reserve()
    client.raw.add(bidi)
    client.send_bytewise(bidi, encode_uint_var(BIDI_SIGNAL) + encode_uint_var(session) + b"by bytes", fin=True)
    client.send_bytewise(
        client.uni_id(), encode_uint_var(UNI_TYPE) + encode_uint_var(session) + b"uni by bytes", fin=True
    )
    answers = client.server_streams(session, 1, uni=True)
    # The same for a session that does not exist yet.
    early = client.reserve()
    stream = client.reserve()
    client.raw.add(stream)
    client.send_bytewise(stream, encode_uint_var(BIDI_SIGNAL) + encode_uint_var(early) + b"early", fin=True)
    client.session("/wt/echo", stream_id=early)
    found = {
        "bidi": client.finished(bidi),
        "uni": [client.streams[answer].text for answer in answers],
        "early": client.finished(stream),
        "get": [page, client.get("/")],
    }
    client.close()
    return found


def late_settings(url):
    """Everything before the client's SETTINGS, as packets may be lost."""
    client = Client(url, silent=True)
    page = client.get("/")
    session = client.connect("/wt/echo")
    bidi = client.bidi(session, b"bidi before the settings", fin=True)
    client.uni(session, b"uni before the settings", fin=True)
    client.settle()
    before = session in client.streams
    client.send_settings()
    found = {"get": page, "before": before, "status": client.status(session), "bidi": client.finished(bidi)}
    found["uni"] = [client.streams[answer].text for answer in client.server_streams(session, 1, uni=True)]
    found["datagram"] = client.echo(session, "after the settings")
    client.close()
    # And from a client that turns out not to have WebTransport.
    client = Client(url, settings={}, silent=True)
    session = client.connect("/wt/echo")
    client.settle()
    client.send_settings()
    found["refused"] = client.reset_code(session)
    found["again"] = client.get("/")
    client.close()
    return found


def varint(value, length):
    """A variable-length integer of a chosen length, which may be longer than it has to be."""
    mark = {1: 0, 2: 1, 4: 2, 8: 3}[length] << (8 * length - 2)
    return (mark | value).to_bytes(length, "big")


def varint_lengths(url):
    """Stream headers whose integers are longer than they have to be."""
    client = Client(url)
    session = client.session("/wt/echo")
    bidi, uni = [], []
    for kind in (2, 4, 8):
        for length in (1, 2, 4, 8):
            text = f"{kind} {length}".encode()
            stream = client.reserve()
            client.raw.add(stream)
            client.send(stream, varint(BIDI_SIGNAL, kind) + varint(session, length) + text, fin=True)
            bidi.append(stream)
            client.send(client.uni_id(), varint(UNI_TYPE, kind) + varint(session, length) + text, fin=True)
            # A header that stops anywhere within its integers.
            stream = client.reserve()
            client.raw.add(stream)
            header = varint(BIDI_SIGNAL, kind) + varint(session, length) + text
            cut = (kind + length) // 2
            client.send(stream, header[:cut])
            client.settle()
            client.send(stream, header[cut:], fin=True)
            bidi.append(stream)
            uni.append(text.decode())
    echoed = [client.finished(stream) for stream in bidi]
    answers = sorted(client.streams[answer].text for answer in client.server_streams(session, len(uni), uni=True))
    client.close()
    return {"bidi": echoed, "uni": answers, "sent": uni}


def server_streams(url):
    """Streams that the server opens by itself, written to in return."""
    client = Client(url)
    session = client.session("/wt/echo?open=3")
    streams = client.server_streams(session, 3, uni=False)
    greetings = client.until(
        "three greetings",
        lambda: (lines := [client.streams[s].text for s in streams]) and all(l.endswith("\n") for l in lines) and lines,
    )
    for stream in streams:
        client.send(stream, f"to {stream}".encode(), fin=True)
    found = {"ids": streams, "greetings": greetings, "all": [client.finished(stream) for stream in streams]}
    client.close()
    return found


def close_by_us(url):
    """A CLOSE capsule cut at every byte, in three ways; then ends without one."""
    client = Client(url)
    codes = []

    def closing(parts):
        codes.append(len(codes))
        session = client.session("/wt/echo")
        assert client.echo(session, "open") == "open"
        *first, last = parts(close_capsule(codes[-1], b"bye"))
        for part in first:
            client.send(session, part)
            client.settle()
        client.send(session, last, fin=True)
        client.finished(session)

    length = len(close_capsule(0, b"bye"))
    # The capsule in one DATA frame that comes in two packets.
    for cut in range(1, length + 2):
        closing(lambda c: [data_frame(c)[:cut], data_frame(c)[cut:]])
    # The capsule in two DATA frames.
    for cut in range(1, length):
        closing(lambda c: [data_frame(c[:cut]), data_frame(c[cut:])])
    # Two DATA frames in one packet, with an empty one in between.
    for cut in range(1, length):
        closing(lambda c: [data_frame(c[:cut]) + data_frame(b"") + data_frame(c[cut:])])
    # A byte per frame, and every byte of every frame in a packet of its own.
    closing(lambda c: [bytes([byte]) for one in c for byte in data_frame(bytes([one]))])
    # Without a FIN on the capsule, which comes alone.
    closing(lambda c: [data_frame(c), b""])
    # Only a FIN: code 0 and no reason.
    session = client.session("/wt/echo")
    client.send(session, fin=True)
    client.finished(session)
    # The longest reason and the largest code.
    session = client.session("/wt/echo")
    client.end_session(session, 2**32 - 1, "é".encode() * 512)
    # The connection ends with a session open: no more to be said on it, so another one asks.
    client.session("/wt/hash")
    status, closes = client.get("/wt/closes")
    client.close()
    other = Client(url)
    rest = other.until("the last session's end", lambda: json.loads(other.get("/wt/closes")[1]) or None)
    other.close()
    return {"codes": codes, "status": status, "closes": json.loads(closes), "lost": rest}


def close_by_server(url):
    client = Client(url)
    sessions = [
        client.session("/wt/close?code=7&reason=enough"),
        client.session("/wt/close?code=4294967295&reason=%C3%A9"),
        client.session("/wt/close?code=0"),
    ]
    found = [client.closed_session(session) for session in sessions]
    waiting = client.session("/wt/close?code=30&reason=late&on=datagram")
    # A stream that the handler does not take.
    stream = client.bidi(waiting, b"open")
    refused = [client.reset_code(stream), client.stop_code(stream)]
    before = client.streams[waiting].fin
    client.send_datagram(waiting, b"now")
    found.append(client.closed_session(waiting))
    sessions.append(waiting)
    # Browsers lose code and reason when the session's stream is stopped.
    stops = [client.streams[session].stopped for session in sessions]
    result = {"closes": found, "before": before, "stops": stops, "refused": refused}
    for session in sessions:
        client.send(session, fin=True)
    client.settle()
    result["get"] = client.get("/")
    status, closes = client.get("/wt/closes")
    client.close()
    return result | {"server": json.loads(closes)}


def unknown_capsules(url):
    client = Client(url)
    session = client.session("/wt/echo")
    # Of reserved and unknown types: empty, small, larger than any buffer should be, and in many frames.
    client.send(session, data_frame(capsule(0x17, b"")))
    client.send(session, data_frame(capsule(0x29 * 5 + 0x17, b"grease") + capsule(0x3FFFFFFFFFFFFFFF, b"x" * 300_000)))
    big = capsule(0x4242, bytes(200))
    for byte in big:
        client.send(session, data_frame(bytes([byte])))
    client.settle()
    found = [client.echo(session, "still here")]
    stream = client.bidi(session, b"streams too", fin=True)
    found.append(client.finished(stream))
    client.send(session, data_frame(capsule(0x17, b"before") + close_capsule(5, b"after capsules")), fin=True)
    client.finished(session)
    closes = json.loads(client.get("/wt/closes")[1])
    client.close()
    return {"works": found, "closes": closes}


def answers(url):
    """How CONNECTs are answered, and what is chosen of what they offer."""
    client = Client(url)
    paths = ["/wt/echo", "/nothing", "/wt/reject", "/wt/reject?status=418", "/"]
    found = {path: client.status(client.connect(path)) for path in paths}
    for name, origin in (("no origin", None), ("foreign origin", "https://example.org")):
        found[name] = client.status(client.connect("/wt/echo", origin=origin))
    found["webtransport-h3"] = client.status(client.connect("/wt/echo", protocol="webtransport-h3"))
    chosen = []
    for offer in (b'"echo-v2", "echo-v1"', b'"echo-v1", "echo-v2"', b'"other", "echo-v1"', b'"other"', None):
        further = [] if offer is None else [(b"wt-available-protocols", offer)]
        session = client.session("/wt/echo", further=further)
        chosen.append(dict(client.streams[session].headers).get(b"wt-protocol", b"").decode())
    client.close()
    return {"statuses": found, "chosen": chosen}


def resets(url):
    """Resets and STOP_SENDING with every kind of code; the echo answers each with its own of the same code."""
    client = Client(url)
    session = client.session("/wt/echo")
    found = []
    for code in (0, 29, 30, 139, 2**32 - 1):
        on_wire = wire_code(code)
        bidi = client.bidi(session, b"x")
        client.until("an echo", lambda: client.stream(bidi).text == "x")
        client.quic.reset_stream(bidi, on_wire)
        reset = client.reset_code(bidi) - on_wire
        bidi = client.bidi(session, b"y")
        client.until("an echo", lambda: client.stream(bidi).text == "y")
        client.quic.stop_stream(bidi, on_wire)
        stopped = [client.reset_code(bidi) - on_wire, client.stop_code(bidi) - on_wire]
        found.append([code, reset, *stopped])
    works = client.echo(session, "still here")
    client.close()
    return {"codes": found, "works": works}


def backpressure(url):
    """One stream stalls with 64 MiB; all others go on."""
    size = 64 << 20
    payload = bytes(n % 251 for n in range(251)) * (size // 251 + 1)
    payload = payload[:size]
    client = Client(url)
    slow = client.session("/wt/hash?pause=8000")
    echo = client.session("/wt/echo")
    stream = client.bidi(slow, payload, fin=True)
    began = time.monotonic()
    sender = client.quic._streams[stream].sender
    sent = lambda: sender.highest_offset
    limit = lambda: client.quic._streams[stream].max_stream_data_remote
    client.until("the stall", lambda: sent() == limit())
    datagrams = [client.echo(echo, f"datagram {n}") for n in range(200)]
    streams = [client.finished(client.bidi(echo, f"stream {n}".encode(), fin=True)) for n in range(50)]
    own = client.echo(slow, "of the session itself")
    stalled, took = sent(), time.monotonic() - began
    answer = client.finished(stream)
    client.close()
    return {
        "datagrams": len(set(datagrams)),
        "streams": len(set(streams)),
        "own": own,
        "sent_while_stalled": stalled,
        "seconds_stalled": took,
        "answer": json.loads(answer),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }


CASES = {
    "two-sessions-and-a-get": two_sessions_and_a_get,
    "before-connect": before_connect,
    "stream-header-bytewise": stream_header_bytewise,
    "late-settings": late_settings,
    "varint-lengths": varint_lengths,
    "server-streams": server_streams,
    "close-by-us": close_by_us,
    "close-by-server": close_by_server,
    "unknown-capsules": unknown_capsules,
    "answers": answers,
    "resets": resets,
    "backpressure": backpressure,
}
