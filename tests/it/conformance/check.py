"""What a check is: a violation of a rule, the outcomes that the RFC demands or permits, and what happens today."""

import time
from dataclasses import dataclass
from typing import Callable

from peer import Peer, request, retire_connection_id, varint

QUIC_CODES = {
    0x3: "FLOW_CONTROL_ERROR",
    0x4: "STREAM_LIMIT_ERROR",
    0x5: "STREAM_STATE_ERROR",
    0x6: "FINAL_SIZE_ERROR",
    0x7: "FRAME_ENCODING_ERROR",
    0x8: "TRANSPORT_PARAMETER_ERROR",
    0x9: "CONNECTION_ID_LIMIT_ERROR",
    0xA: "PROTOCOL_VIOLATION",
    0xD: "CRYPTO_BUFFER_EXCEEDED",
    0x10A: "unexpected_message",
    0x132: "decode_error",
    0x16D: "missing_extension",
    0x178: "no_application_protocol",
}
HTTP3_CODES = {
    0x103: "H3_STREAM_CREATION_ERROR",
    0x104: "H3_CLOSED_CRITICAL_STREAM",
    0x105: "H3_FRAME_UNEXPECTED",
    0x106: "H3_FRAME_ERROR",
    0x107: "H3_EXCESSIVE_LOAD",
    0x108: "H3_ID_ERROR",
    0x109: "H3_SETTINGS_ERROR",
    0x10A: "H3_MISSING_SETTINGS",
    0x10B: "H3_REQUEST_REJECTED",
    0x10C: "H3_REQUEST_CANCELLED",
    0x10D: "H3_REQUEST_INCOMPLETE",
    0x10E: "H3_MESSAGE_ERROR",
    0x200: "QPACK_DECOMPRESSION_FAILED",
    0x201: "QPACK_ENCODER_STREAM_ERROR",
    0x202: "QPACK_DECODER_STREAM_ERROR",
}

# Outcomes without a code: the connection goes on as if nothing had been there; the server does not even answer.
IGNORED = "ignored"
SILENCE = "silence"


def on_stream(name):
    """The outcome of a stream that is reset with a code of this name."""
    return f"{name} on the stream"


@dataclass(frozen=True)
class Check:
    section: str
    # What the peer does.
    violation: str
    run: Callable[[str], str]
    # The outcomes that the RFC gives; `may` if it leaves it open whether there is one.
    must: tuple[str, ...]
    may: bool
    today: str
    # It is in h3spec, too.
    h3spec: bool

    @property
    def verdict(self):
        if self.today in self.must:
            return "pass"
        return "optional" if self.may else "quiche"


def check(section, violation, run, *must, today=None, may=False, h3spec=False):
    return Check(section, violation, run, must, may, must[0] if today is None else today, h3spec)


def name(close):
    is_quic, code = close
    return (QUIC_CODES if is_quic else HTTP3_CODES).get(code, f"{'QUIC' if is_quic else 'HTTP/3'} {code:#x}")


def outcome(peer, watched=None):
    """What the server makes of all that was sent so far; `watched` is a stream that it may reset instead."""

    def end():
        close = peer.close_frame()
        if close is not None:
            return name(close)
        code = None if watched is None else peer.stream(watched).reset
        return None if code is None else on_stream(HTTP3_CODES[code])

    def run(what, check):
        peer.wait(what, lambda: end() is not None or check())
        return end()

    peer.pings += 1
    peer.quic.send_ping(peer.pings)
    found = run("an acknowledgement", lambda: peer.pings in peer.acknowledged)
    if found is None:
        probe = peer.reserve()
        peer.send(probe, request(), fin=True)
        found = run("an answer", lambda: peer.stream(probe).fin)
    peer.close()
    if found is None and watched is not None and peer.stream(watched).fin:
        return "answered"
    return found or IGNORED


# ---- ways to run a check ----


def frames(*payload, **header):
    """A 1-RTT packet of these frames."""

    def run(url):
        peer = Peer(url)
        peer.settle()
        peer.inject(b"".join(payload), **header)
        return outcome(peer)

    return run


def retiring(sequence):
    """RETIRE_CONNECTION_ID of an id that the server gave, then a request to the next one."""

    def run(url):
        peer = Peer(url)
        peer.until("further connection ids", lambda: peer.quic._peer_cid_available)
        peer.settle()
        peer.inject(retire_connection_id(sequence))
        peer.quic.change_connection_id()
        peer.send(peer.reserve(), request(), fin=True)
        return silence_or_outcome(peer, url)

    return run


def streams(*writes, **arguments):
    """Bytes on streams: (stream id, bytes) or (stream id, bytes, FIN). Only stream 0 is a request's."""

    def run(url):
        peer = Peer(url, **arguments)
        request_stream = peer.reserve()
        for write in writes:
            peer.send(*write)
        return outcome(peer, request_stream)

    return run


def handshake(**changes):
    """A handshake with changes to it."""

    def run(url):
        return outcome(Peer(url, ready=False, **changes))

    return run


def parameters(**values):
    """A handshake with other transport parameters."""

    def change(found):
        for key, value in values.items():
            setattr(found, key, value)

    return lambda url: told(url, change)


def appended_parameters(*entries):
    """A handshake with further transport parameters: (id, value)."""
    return appended_bytes(b"".join(varint(key) + varint(len(value)) + value for key, value in entries))


def appended_bytes(encoded):
    """A handshake with bytes behind its transport parameters."""
    return lambda url: told(url, lambda _: encoded)


def told(url, change):
    """What a client hears whose transport parameters are wrong."""
    return silence_or_outcome(Peer(url, ready=False, parameters=change), url)


def silence_or_outcome(peer, url):
    """The outcome for a peer whose next packets the server may leave without any answer."""
    peer.flush()
    # The server takes packets in the order in which they come: when it has served this one, it has seen those.
    Peer(url).close()
    try:
        peer.socket.settimeout(0)
        packet = peer.socket.recv(65536)
    except BlockingIOError:
        return SILENCE
    peer.quic.receive_datagram(packet, peer.peer, now=time.monotonic())
    return outcome(peer)


def resumed(act):
    """A connection with a ticket of an earlier one, which acts before it has read the server's first flight."""

    def run(url):
        first = Peer(url)
        first.until("a ticket", lambda: first.tickets)
        first.close()
        peer = Peer(url, ready=False, ticket=first.tickets[-1])
        peer.flush()
        # A server that has sent nothing yet cannot send a close either (see quiche's quirks in ARCHITECTURE.md).
        peer.withhold()
        act(peer)
        peer.release()
        return outcome(peer)

    return run


def at_handshake_keys(act):
    """A connection that has Handshake keys, and has not sent its Finished."""

    def run(url):
        peer = Peer(url, ready=False)
        peer.until_handshake_keys()
        act(peer)
        return outcome(peer)

    return run
