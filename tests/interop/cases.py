"""The cases of quic-interop-runner, over HTTP/3, and what each demands of what passed through the network."""

from dataclasses import dataclass, field

from link import Network
from process import Failure

K, M = 1000, 1_000_000
NO_ECN = "quiche 0.30 neither marks packets nor reads marks (ECN)"
NO_V2 = "quiche 0.30 knows QUIC version 1 only"


@dataclass(frozen=True)
class Case:
    name: str
    # As in the runner's table.
    letters: str
    about: str
    # Names and sizes of the files that the client fetches.
    files: tuple = (("1k", K),)
    network: Network = field(default_factory=Network)
    # Connections that the client opens.
    connections: int = 1
    # Seconds that the client has.
    seconds: float = 30.0
    # What quiche lacks.
    gap: str | None = None


SLOW = Network(delay=0.005, rate=40e6)
LARGE = (("10m", 10 * M),)
THREE = (("3m", 3 * M),)
TINY = tuple((f"tiny{n:04}", 32) for n in range(1999))
NAMES = tuple((f"early{n:02}".ljust(250, "x"), 32) for n in range(40))
SMALL = tuple((f"small{n}", K) for n in range(10))

CASES = (
    Case("handshake", "H", "a file of 1 kB, no Retry"),
    Case("transfer", "DC", "2, 3 and 5 MB at the same time", (("2m", 2 * M), ("3m", 3 * M), ("5m", 5 * M))),
    Case("longrtt", "LR", "a round trip of 1.5 s", network=Network(delay=0.75)),
    Case("chacha20", "C20", "3 MB, ChaCha20 only", THREE),
    Case("multiplexing", "M", "1999 files of 32 bytes on one connection", TINY, seconds=60.0),
    Case("retry", "S", "a Retry and its token"),
    Case("resumption", "R", "the second connection resumes the first", (("1k", K), ("5k", 5 * K)), connections=2),
    Case("zerortt", "Z", "39 requests in 0-RTT, names of 250 bytes", NAMES, connections=2),
    Case("http3", "3", "5, 10 and 500 kB at the same time", (("5k", 5 * K), ("10k", 10 * K), ("500k", 500 * K))),
    Case("blackhole", "B", "10 MB, the network is dead for 2 s after each 5 s", LARGE,
         Network(delay=0.015, rate=10e6, blackhole=(5.0, 2.0)), seconds=45.0),
    Case("keyupdate", "U", "3 MB, new keys after the handshake", THREE, SLOW),
    Case("ecn", "E", "packets are marked, and marks acknowledged", gap=NO_ECN),
    Case("amplificationlimit", "A", "a certificate that is longer than what a server may send at first",
         network=Network(delay=0.015, drops=frozenset(range(3, 8)))),
    Case("handshakeloss", "L1", "10 connections, 30 % of the packets are lost", SMALL, Network(delay=0.015, loss=30),
         connections=10, seconds=110.0),
    Case("transferloss", "L2", "2 MB, 2 % of the packets are lost", (("2m", 2 * M),), Network(delay=0.015, loss=2)),
    Case("handshakecorruption", "C1", "10 connections, 30 % of the packets are corrupted", SMALL,
         Network(delay=0.015, corruption=30), connections=10, seconds=110.0),
    Case("transfercorruption", "C2", "2 MB, 2 % of the packets are corrupted", (("2m", 2 * M),),
         Network(delay=0.015, corruption=2)),
    Case("ipv6", "6", "3 MB over IPv6", THREE),
    Case("v2", "V2", "QUIC version 2", gap=NO_V2),
    Case("rebind-port", "BP", "10 MB, the client's port changes", LARGE,
         Network(delay=0.005, rate=40e6, rebind="port")),
    Case("rebind-addr", "BA", "10 MB, the client's IP address changes", LARGE,
         Network(delay=0.005, rate=40e6, rebind="address")),
    Case("connectionmigration", "CM", "10 MB, the client moves to another port by itself", LARGE, SLOW),
)


def demand(what, fulfilled):
    if not fulfilled:
        raise Failure(what)


def check(case, trace, always_retry=False):
    """Judges what passed through the network."""
    seen = len(trace.connections)
    lossy = case.network.corruption or case.network.loss
    # Where packets are lost, a client may give one up and open another.
    is_right = seen >= case.connections if lossy else seen == case.connections
    demand(f"{seen} connections, not {case.connections}", is_right)
    demand(f"versions {sorted(trace.versions)}", trace.versions == {1} or case.network.corruption)
    match case.name:
        case "handshake":
            demand("a Retry", trace.retries == 0 or always_retry)
        case "longrtt":
            demand("the client did not repeat its first flight", trace.first_flights[-1] > 0.2)
        case "retry":
            demand("no Retry", trace.retries > 0)
        case "zerortt":
            demand("no 0-RTT packets", trace.zero_rtt > 0)
        case "blackhole":
            demand("nothing was lost", trace.blackholed > 0)
        case "amplificationlimit":
            demand(f"the server sent {trace.amplification:.2f} times what it received", trace.amplification <= 3)
            demand("nothing was lost", trace.lost > 0)
        case "handshakeloss" | "transferloss":
            demand("nothing was lost", trace.lost > 0)
        case "handshakecorruption" | "transfercorruption":
            demand("nothing was corrupted", trace.corrupted > 0)
        case "rebind-port" | "rebind-addr" | "connectionmigration":
            demand("the server saw one address only", trace.addresses > 1)
            demand("the server sent nothing to the new address", trace.moved > 0)
