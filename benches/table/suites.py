"""What is measured: suites of steps, each of which fills one or more rows of a table."""

import json
import math
import time
from dataclasses import dataclass
from typing import Callable

import measure
from measure import BUSY, Figure
from process import Failure, Process, wait_for
from servers import BUN, HTTP, SESSIONS, Fanout, OursForClients

# Longer than any load takes beside its duration: connecting, a transfer, closing.
SPARE = 60
RATE = 3000
# The alert handshake_failure (RFC 8446 section 6.2) as a QUIC error.
NO_SUCH_GROUP = "QUIC code 0x128"
CLIENTS = ("ours", "baseline", "load", "oha", "curl")
FANOUT = {"ours": "ours", "wtransport": "wtransport"}


@dataclass
class Bench:
    """What a round needs."""

    tools: dict
    fixture: object
    cores: object
    seconds: int

    def load(self, server, mode, *options, program="MIO_QUICHE_LOAD"):
        pids = [option for pid in server.pids() for option in ("--server-pid", pid)]
        command = [self.tools[program], mode, *options, *pids]
        return measure.run_json(command, self.cores.load, self.seconds + SPARE)


@dataclass(frozen=True)
class Step:
    rows: tuple
    # (bench, server, peer) -> one figure for each row
    run: Callable
    # Needs a server that has done nothing before.
    fresh: bool = False
    workers: int = 1
    # Only in the first rounds.
    rounds: float = math.inf


@dataclass(frozen=True)
class Suite:
    name: str
    # The table that the rows belong to.
    table: str
    peers: tuple
    steps: tuple
    # (bench, peer, workers) -> the server
    start: Callable
    # Programs beside those of the peers, by their variables.
    programs: tuple = ()


# ---- HTTP ----


def start_http(bench, peer, workers=1):
    return HTTP[peer](bench.tools, bench.fixture, bench.cores, workers)


def get(connections, streams, sockets=10):
    def run(bench, server, _):
        # Waking up for each answer would slow the load generator, and with it the server.
        gather = 100 if connections * streams > 1 else 0
        options = ["--connections", connections, "--streams", streams, "--sockets", sockets, "--gather", gather]
        options += ["--url", server.url(server.small), "--duration", bench.seconds]
        return [measure.of_rate(bench.load(server, "get", *options))]
    return run


def h2load_options(peer, connections, streams):
    if peer == "bun-http1":
        # A connection has one request at a time.
        return ["--alpn-list=http/1.1", "-c", connections * streams, "-m", 1]
    return ["--alpn-list=h3", "-c", connections, "-m", streams]


def get_by_h2load(connections, streams):
    # It connects meanwhile, to all at once, and packets get lost then.
    warmup = 1 + connections // 500

    def run(bench, server, peer):
        command = [bench.tools["MIO_QUICHE_H2LOAD"], *h2load_options(peer, connections, streams), "-t", 1]
        command += ["-D", bench.seconds, "--warm-up-time", warmup, server.url(server.small)]
        return [measure.h2load(command, bench.cores.load, server.pids(), bench.seconds + SPARE)]
    return run


def scheduled(bench, server, _):
    warmup, seconds, edge = 1, max(3, 3 * bench.seconds), 0.2
    command = [bench.tools["MIO_QUICHE_OURS"], "bench", "-k", "-c", 10, "-r", RATE, "-t", seconds, "--warmup", warmup]
    command = measure.pinned([*command, "--json", server.url(server.small)], [bench.cores.load])
    process = Process(command, bench.fixture.directory, "bench")
    try:
        # The rate is known, so the CPU time may be taken at any two moments of the run.
        time.sleep(warmup + edge)
        begun, before = time.monotonic(), server.cpu_seconds()
        time.sleep(seconds - 2 * edge)
        taken, cpu = time.monotonic() - begun, server.cpu_seconds() - before
        process.wait(SPARE)
        return measure.of_scheduled(json.loads(process.text()), cpu / taken)
    finally:
        process.stop()


def download(bench, server, _):
    if not server.download:
        return None
    return [measure.of_bytes(bench.load(server, "download", "--url", server.url(server.download)))]


def upload(bench, server, _):
    if not server.upload:
        return None
    options = ["--url", server.url(server.upload), "--size", bench.fixture.bytes]
    return [measure.of_bytes(bench.load(server, "upload", *options))]


def handshakes(group, resume=False):
    def run(bench, server, _):
        if resume and not server.resumes:
            return None
        at_a_time = 16
        options = ["--group", group, "--duration", bench.seconds, "--connections", at_a_time]
        options += ["--resume"] if resume else []
        try:
            report = bench.load(server, "handshakes", "--url", server.url(server.small), *options)
        except Failure as error:
            if NO_SUCH_GROUP in str(error):
                return None
            raise
        # The first ones have nothing to resume.
        if resume and report["resumed"] < 0.9 * (report["requests"] - at_a_time):
            raise Failure(f"only {report['resumed']} of {report['requests']} connections resumed a session")
        return [measure.of_rate(report)]
    return run


def growth(bench, server, program, *options, seconds=SPARE):
    """KiB that a server grows by until an idle load is ready, which has so many seconds."""
    before = server.resident_kib()
    command = measure.pinned([bench.tools[program], "idle", *options, "--hold", 60], [bench.cores.load])
    process = Process(command, bench.fixture.directory, "idle")
    try:
        def is_ready():
            return process.text().startswith("ready") or process.child.poll() is not None

        wait_for("the connections", is_ready, seconds)
        if process.child.poll() is not None:
            process.wait(0)
            raise Failure("the connections ended")
        # Until the last answers are acknowledged.
        time.sleep(0.5)
        return server.resident_kib() - before
    finally:
        process.stop()


def idle(connections):
    def run(bench, server, _):
        if connections > server.most_idle:
            return None
        options = ["--url", server.url(server.small), "--connections", connections]
        grown = growth(bench, server, "MIO_QUICHE_LOAD", *options, seconds=SPARE + connections // 100)
        return [Figure(grown / connections)]
    return run


# ---- sessions ----


def start_sessions(bench, peer, workers=1):
    return SESSIONS[peer](bench.tools, bench.fixture, bench.cores, workers)


def echoes(mode):
    def run(bench, server, _):
        if not server.session:
            return None
        options = ["--url", server.url(server.session), "--duration", bench.seconds]
        report = bench.load(server, mode, *options, program="MIO_QUICHE_WT")
        is_busy = report["client_cpu_seconds"] >= BUSY * report["seconds"]
        return [Figure(report["echoes_per_second"], report["server_us_per_echo"], is_busy)]
    return run


def bulk(bench, server, _):
    options = ["--url", server.url(server.session), "--size", bench.fixture.bytes]
    report = bench.load(server, "bulk", *options, program="MIO_QUICHE_WT")
    is_busy = report["client_cpu_seconds"] >= BUSY * report["seconds"]
    return [Figure(report["mb_per_second"], report["server_ms_per_mb"], is_busy)]


def session_memory(bench, server, peer):
    connections, further = 200, 10
    options = ["--url", server.url(server.session), "--connections", connections]
    first = growth(bench, server, "MIO_QUICHE_WT", *options)
    if peer == "wtransport":
        # Its server takes one session on each connection.
        return [Figure(first / connections), None]
    with start_sessions(bench, peer) as another:
        options = ["--url", another.url(another.session), "--connections", connections, "--sessions", further + 1]
        more = growth(bench, another, "MIO_QUICHE_WT", *options)
    return [Figure(first / connections), Figure((more - first) / (connections * further))]


def start_fanout(bench, peer, rate):
    return Fanout(bench.tools, bench.fixture, bench.cores, FANOUT[peer], rate)


def fanout(bench, server, peer):
    def members(server, seconds):
        url = server.url("/fan")
        command = [bench.tools["MIO_QUICHE_FANOUT"], "members", "--url", url, "--count", 1000, "--duration", seconds]
        command += ["--server-pid", server.pids()[0]]
        return measure.run_json(command, bench.cores.load, seconds + SPARE)

    report = members(server, bench.seconds)
    with start_fanout(bench, peer, 0) as silent:
        memory = members(silent, 1)["kib_per_member"]
    return [Figure(report["datagrams_per_second"], report["server_us_per_datagram"]), Figure(memory)]


# ---- Bun ----


def start_bun(bench, peer, workers=1):
    return BUN[peer](bench.tools, bench.fixture, bench.cores, workers)


# ---- clients ----


def start_for_client(bench, _, workers=1):
    return OursForClients(bench.tools, bench.fixture, bench.cores, workers)


CLIENT_VARIABLES = {
    "ours": "MIO_QUICHE_OURS", "baseline": "MIO_QUICHE_BASELINE", "load": "MIO_QUICHE_LOAD", "oha": "MIO_QUICHE_OHA",
    "curl": "MIO_QUICHE_CURL",
}


def client_gets(bench, server, peer):
    program, url, seconds = bench.tools[CLIENT_VARIABLES[peer]], server.url(server.small), bench.seconds
    count = 120_000 * seconds
    match peer:
        case "ours" | "baseline":
            command = [program, "bench", "-k", "-c", 10, "-m", 10, "-n", count, url]
        case "load":
            command = [program, "get", "--url", url, "--requests", count]
        case "oha":
            command = [program, "--no-tui", "--insecure", "--http-version", "3", "-c", 10, "-p", 10, "-z", f"{seconds}s"]
            command += ["--output-format", "json", url]
        case _:
            return None
    before = server.cpu_seconds()
    text, taken, cpu = measure.run(command, bench.cores.load, seconds + SPARE)
    if peer == "oha":
        # It has waited for its connections to time out.
        count, taken = json.loads(text)["statusCodeDistribution"]["200"], seconds
    server_cpu = server.cpu_seconds() - before
    return [Figure(count / taken, cpu * 1e6 / count), Figure(server_cpu * 1e6 / count)]


def client_download(bench, server, peer):
    program, url = bench.tools[CLIENT_VARIABLES[peer]], server.url(server.download)
    match peer:
        case "ours" | "baseline":
            command = [program, "get", "-k", "-s", "-o", "/dev/null", url]
        case "load":
            command = [program, "download", "--url", url]
        case "curl":
            command = [program, "-k", "-s", "--http3-only", "-o", "/dev/null", url]
        case _:
            return None
    before = server.cpu_seconds()
    _, taken, cpu = measure.run(command, bench.cores.load, SPARE)
    megabytes, server_cpu = bench.fixture.bytes / 1e6, server.cpu_seconds() - before
    return [Figure(megabytes / taken, cpu * 1e3 / megabytes), Figure(server_cpu * 1e3 / megabytes)]


# ---- all ----

SHAPES = ((1, 1), (10, 10), (100, 10), (1000, 1))
REQUESTS = "req/s (CPU us)"
BYTES = "MB/s (CPU ms/MB)"
HANDSHAKES = "connections/s (CPU us)"


def http_suite(name, steps, programs=("MIO_QUICHE_LOAD",)):
    return Suite(name, "http", tuple(HTTP), steps, start_http, programs)


def wt_suite(name, peers, steps, start, program):
    return Suite(name, "webtransport", tuple(peers), steps, start, (program,))


def bun_suite(name, steps, program):
    return Suite(name, "bun", tuple(BUN), steps, start_bun, (program, "MIO_QUICHE_LIBRARY"))


SUITES = (
    http_suite("get", tuple(Step((f"GET {c} x {s}, {REQUESTS}",), get(c, s)) for c, s in SHAPES)),
    http_suite(
        "h2load",
        tuple(Step((f"GET {c} x {s} by h2load, {REQUESTS}",), get_by_h2load(c, s)) for c, s in SHAPES),
        ("MIO_QUICHE_H2LOAD",),
    ),
    http_suite(
        "rate",
        (Step((f"{RATE} req/s, p50 in us (CPU us)", f"{RATE} req/s, p99 in us", f"{RATE} req/s, p99.9 in us"), scheduled),),
        ("MIO_QUICHE_OURS",),
    ),
    http_suite("transfer", (Step((f"download, {BYTES}",), download), Step((f"upload, {BYTES}",), upload))),
    http_suite(
        "handshakes",
        (
            Step((f"handshakes, X25519, {HANDSHAKES}",), handshakes("X25519")),
            Step((f"handshakes, X25519MLKEM768, {HANDSHAKES}",), handshakes("X25519MLKEM768")),
            Step((f"handshakes resumed, X25519, {HANDSHAKES}",), handshakes("X25519", resume=True)),
        ),
    ),
    http_suite(
        "memory",
        (
            Step(("KiB per connection, 1000 idle",), idle(1000), fresh=True),
            Step(("KiB per connection, 10 000 idle",), idle(10_000), fresh=True, rounds=1),
        ),
    ),
    http_suite("workers", (Step((f"GET 100 x 10, 2 workers, {REQUESTS}",), get(100, 10, sockets=100), workers=2),)),
    wt_suite(
        "webtransport", SESSIONS,
        (
            Step(("datagrams, echoes/s (CPU us)",), echoes("datagrams")),
            Step(("streams, echoes/s (CPU us)",), echoes("streams")),
            Step((f"one stream, {BYTES}",), bulk),
            Step(("KiB per connection and session", "KiB per further session"), session_memory, fresh=True),
        ),
        start_sessions, "MIO_QUICHE_WT",
    ),
    wt_suite(
        "fanout", FANOUT,
        (Step(("fan-out to 1000 sessions, datagrams/s (CPU us)", "KiB per silent member"), fanout, fresh=True),),
        lambda bench, peer, _: start_fanout(bench, peer, 20), "MIO_QUICHE_FANOUT",
    ),
    bun_suite(
        "bun-get",
        tuple(Step((f"GET {c} x {s} by h2load, {REQUESTS}",), get_by_h2load(c, s)) for c, s in SHAPES[:2]),
        "MIO_QUICHE_H2LOAD",
    ),
    bun_suite(
        "bun-sessions",
        (
            Step(("datagrams, echoes/s (CPU us)",), echoes("datagrams")),
            Step(("streams, echoes/s (CPU us)",), echoes("streams")),
        ),
        "MIO_QUICHE_WT",
    ),
    Suite(
        "client", "client", CLIENTS,
        (
            Step(("GET 10 x 10, req/s (client's CPU us)", "server's CPU us per request"), client_gets),
            Step(("download, MB/s (client's CPU ms/MB)", "server's CPU ms per MB"), client_download),
        ),
        start_for_client, ("MIO_QUICHE_OURS",),
    ),
)

# Names that stand for several suites.
GROUPS = {table: tuple(suite.name for suite in SUITES if suite.table == table) for table in ("http", "bun")}


def variable_of(suite, peer):
    """The variable with the path of a peer's program."""
    if suite.table == "http":
        return HTTP[peer].variable
    if suite.table == "bun":
        return BUN[peer].variable
    if suite.name == "webtransport":
        return SESSIONS[peer].variable
    return "MIO_QUICHE_FANOUT" if suite.name == "fanout" else CLIENT_VARIABLES[peer]


def title_of(peer):
    known = HTTP.get(peer) or SESSIONS.get(peer) or BUN.get(peer)
    return known.title if known else peer
