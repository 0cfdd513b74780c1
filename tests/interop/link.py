"""A UDP forwarder between a client and a server: the network of a case, and what passes through it."""

import heapq
import random
import select
import socket
import threading
import time
from dataclasses import dataclass, field

INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)


@dataclass(frozen=True)
class Network:
    # Seconds in each direction.
    delay: float = 0.0
    # Bits per second in each direction; None: as fast as the machine. A queue of 25 packets stands before it.
    rate: float | None = None
    # Per cent of the packets of each direction that are lost, or of which a byte is changed.
    loss: int = 0
    corruption: int = 0
    # Packets to the server that are lost, by number from 1.
    drops: frozenset = frozenset()
    # Seconds in which packets pass, and in which none does, in turn.
    blackhole: tuple | None = None
    # What the server sees of the client changes: "port" or "address".
    rebind: str | None = None


# The network loses or changes at most so many packets of a direction in a row, as the runner's does.
MOST_IN_A_ROW = 3
QUEUE = 25
# The client's address changes when so many bytes have passed. Once: nginx takes two connection ids from a client, and
# so follows it to one other address.
REBIND_AT = 2_000_000


@dataclass
class Trace:
    """What passed, as the runner finds it in a packet capture."""

    # Connections by the client's connection id, of which a Handshake packet came from the server.
    connections: set = field(default_factory=set)
    client_ids: set = field(default_factory=set)
    retries: int = 0
    versions: set = field(default_factory=set)
    zero_rtt: int = 0
    # Times of the client's Initial packets before the first reply came, since the first.
    first_flights: list = field(default_factory=list)
    lost: int = 0
    corrupted: int = 0
    blackholed: int = 0
    # Addresses that the server saw, and packets that it sent to all but the first.
    addresses: int = 0
    moved: int = 0
    # The most that the server sent for what it had received, before the client's address was validated.
    amplification: float = 0.0


def varint(data, at):
    length = 1 << (data[at] >> 6)
    return int.from_bytes(data[at : at + length], "big") & ((1 << (8 * length - 2)) - 1), at + length


def long_headers(datagram):
    """The packets with a long header in a datagram: type, version, destination and source connection id."""
    at = 0
    while at + 7 < len(datagram) and datagram[at] & 0x80:
        version = int.from_bytes(datagram[at + 1 : at + 5], "big")
        kind = datagram[at] >> 4 & 3
        ids = []
        start, at = at, at + 5
        for _ in range(2):
            ids.append(datagram[at + 1 : at + 1 + datagram[at]])
            at += 1 + datagram[at]
        yield kind, version, ids[0], ids[1]
        if kind == RETRY or version != 1:
            return
        if kind == INITIAL:
            token, at = varint(datagram, at)
            at += token
        length, at = varint(datagram, at)
        at += length
        if at <= start:
            return


def packets_of(datagram):
    try:
        return list(long_headers(datagram))
    except IndexError:
        return []


class Link:
    """Forwards between clients and the server at `server` until it is closed."""

    def __init__(self, server, network, seed):
        self.server, self.network, self.trace = server, network, Trace()
        self.random = random.Random(seed)
        self.family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.front = self.socket(server[0])
        self.address = self.front.getsockname()[:2]
        # The client's address by the socket that the server sees as it; the newest socket of each client.
        self.clients, self.backs = {}, {}
        self.poll = select.poll()
        self.poll.register(self.front, select.POLLIN)
        self.by_fd = {self.front.fileno(): self.front}
        self.waiting, self.order = [], 0
        # For each direction (True: to the server): when the line is free, and bad packets in a row.
        self.free, self.row = {True: 0.0, False: 0.0}, {True: 0, False: 0}
        self.started = self.first = None
        self.to_server = self.passed = 0
        # Bytes in both directions by client, until it is validated.
        self.received, self.sent, self.validated = {}, {}, set()
        self.server_ids = set()
        self.rebound = False
        self.replied = False
        self.first_back = None
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def socket(self, host):
        made = socket.socket(self.family, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            made.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        made.bind((host, 0))
        made.setblocking(False)
        return made

    def close(self):
        self.running = False
        self.thread.join()
        for made in (self.front, *self.clients):
            made.close()

    def run(self):
        while self.running:
            wait = 20.0
            if self.waiting:
                wait = min(wait, max(0.0, (self.waiting[0][0] - time.monotonic()) * 1000))
            for fd, _ in self.poll.poll(wait):
                self.drain(self.by_fd[fd])
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, up, client, datagram = heapq.heappop(self.waiting)
                self.deliver(up, client, datagram)

    def drain(self, source):
        for _ in range(32):
            try:
                datagram, sender = source.recvfrom(65536)
            except OSError:
                return
            up = source is self.front
            client = sender if up else self.clients[source]
            self.note(up, client, source, datagram)
            if datagram := self.impaired(up, datagram):
                self.queue(up, client, datagram)

    def note(self, up, client, source, datagram):
        """What the sender of a datagram sent, whether it arrives or not."""
        trace, now = self.trace, time.monotonic()
        self.started = self.started or now
        for kind, version, destination, origin in packets_of(datagram):
            trace.versions.add(version)
            if up and kind == INITIAL:
                trace.client_ids.add((client, origin))
                if not self.replied:
                    self.first = self.first or now
                    trace.first_flights.append(now - self.first)
            trace.zero_rtt += up and kind == ZERO_RTT
            trace.retries += not up and kind == RETRY
            if not up:
                self.server_ids.add(origin)
            if not up and kind == HANDSHAKE and (client, destination) in trace.client_ids:
                trace.connections.add((client, destination))
        if not up:
            self.sent[client] = self.sent.get(client, 0) + len(datagram)
            if client not in self.validated:
                ratio = self.sent[client] / max(1, self.received.get(client, 0))
                trace.amplification = max(trace.amplification, ratio)
            trace.moved += source is not self.first_back

    def impaired(self, up, datagram):
        """What the network makes of a datagram: the same, another one, or nothing."""
        network, trace = self.network, self.trace
        self.to_server += up
        if up and self.to_server in network.drops:
            trace.lost += 1
            return None
        if network.blackhole:
            on, off = network.blackhole
            if (time.monotonic() - self.started) % (on + off) > on:
                trace.blackholed += 1
                return None
        chance = network.loss or network.corruption
        if not chance or self.row[up] >= MOST_IN_A_ROW or self.random.randrange(100) >= chance:
            self.row[up] = 0
            return datagram
        self.row[up] += 1
        if network.loss:
            trace.lost += 1
            return None
        trace.corrupted += 1
        at = self.random.randrange(len(datagram))
        return datagram[:at] + bytes([datagram[at] ^ self.random.randrange(1, 256)]) + datagram[at + 1 :]

    def queue(self, up, client, datagram):
        network, due = self.network, time.monotonic()
        if network.rate:
            takes = len(datagram) * 8 / network.rate
            if self.free[up] - due > QUEUE * 1500 * 8 / network.rate:
                return
            due = self.free[up] = max(due, self.free[up]) + takes
        if not network.rate and not network.delay:
            self.deliver(up, client, datagram)
            return
        self.order += 1
        heapq.heappush(self.waiting, (due + network.delay, self.order, up, client, datagram))

    def deliver(self, up, client, datagram):
        self.passed += len(datagram)
        if self.network.rebind and not self.rebound and self.passed > REBIND_AT:
            self.rebound = True
            self.backs.clear()
        try:
            if not up:
                self.replied = True
                self.front.sendto(datagram, client)
                return
            self.received[client] = self.received.get(client, 0) + len(datagram)
            for kind, _, destination, _ in packets_of(datagram):
                # RFC 9000 section 8.1: a Handshake packet, or a connection id that the server chose.
                if kind == HANDSHAKE or destination in self.server_ids:
                    self.validated.add(client)
            self.back(client).sendto(datagram, self.server)
        except OSError:
            # What the system refuses is lost.
            self.trace.lost += 1

    def back(self, client):
        if client not in self.backs:
            host = self.server[0]
            if self.network.rebind == "address" and self.rebound:
                host = "127.0.1.1"
            made = self.socket(host)
            if not self.clients:
                self.first_back = made
            self.clients[made] = client
            self.backs[client] = made
            self.by_fd[made.fileno()] = made
            self.poll.register(made, select.POLLIN)
            self.trace.addresses += 1
        return self.backs[client]
