"""An attack, the server that it is aimed at, the honest client beside it, and what is expected of them."""

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Callable

from client import DEADLINE
from peer import Peer, request

MIB = 1024

# What holds for an attack unless it says otherwise: memory in MiB that it may cost the server, at its peak.
MEMORY = 12

# Why the server closes a connection whose acknowledgements it does not get.
UNACKNOWLEDGED = "too many packets without an acknowledgement"


@dataclass(frozen=True)
class Attack:
    name: str
    # What the attacker does, and what it is known by.
    about: str
    # Attacks the server at a URL until a time (of time.monotonic); gives what it met.
    act: Callable[[str, float], dict]
    # The name of the code that the server closes the connection with; None: it goes on, unless the server has dropped so much
    # of what came, acknowledgements among it, that it takes the attacker for one who does not acknowledge. Several: it
    # depends on who is faster.
    close: str | None | tuple[str | None, ...] = None
    # Names of the codes that streams are reset with: all of them, and no other.
    resets: tuple[str, ...] = ()
    # The server may find too many requests, which depends on who is faster.
    too_many: bool = False
    # MiB that the server's memory may grow by.
    memory: float = MEMORY
    # Values that the attacker must have found, by their names; a function judges its value.
    found: dict = field(default_factory=dict)
    # Further arguments of `serve`.
    server: tuple[str, ...] = ()
    # Runs in the test suite; the others take longer.
    quick: bool = True
    # Seconds for which it runs at least; otherwise it is up to the run. It goes on until a close that has to come.
    seconds: float = 0


class Server:
    """`mio-quiche serve` on a free port."""

    def __init__(self, binary, *args):
        self.dir = tempfile.TemporaryDirectory()
        self.binary = binary
        quiet = {"stdin": subprocess.DEVNULL, "cwd": self.dir.name}
        subprocess.run([binary, "cert", "--out", "."], check=True, stdout=subprocess.DEVNULL, **quiet)
        self.log = open(self.path("log"), "w+", errors="replace")
        command = [binary, "serve", "--demo", "--listen", "127.0.0.1:0", "--cert", "cert.pem", "--key", "key.pem"]
        command += ["--no-qlog", "--admin", "127.0.0.1:0", "--log", "warn", "--handshake-timeout", "2", *args]
        command += [] if "--idle-timeout" in args else ["--idle-timeout", "5"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, **quiet)
        lines = [self.process.stdout.readline() for _ in range(2)]
        ports = [re.search(r":(\d+)/?$", line.strip()) for line in lines]
        if not all(ports):
            raise RuntimeError(f"the server does not start: {lines} {self.logged()}")
        port, self.admin = (int(found[1]) for found in ports)
        self.url = f"https://127.0.0.1:{port}"
        self.preferred = False

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def logged(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def memory(self, name):
        """VmRSS, or VmHWM for its peak so far, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith(name + ":"))
        return int(line.split()[1]) / MIB

    def cpu(self):
        """Seconds of CPU time."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self):
        end = time.monotonic() + DEADLINE
        while (lines := self._scrape()) is None:
            if time.monotonic() > end:
                raise TimeoutError("the event loop does not answer")
        values = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name.removeprefix("mio_quiche_"): float(value) for name, value in values}

    def _scrape(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=DEADLINE) as page:
                return page.read().decode().splitlines()
        except urllib.error.HTTPError as error:
            # The loop had no turn for 2 s, as it has not where it shares the CPU with attackers.
            if error.code != 503:
                raise
            return None

    def open(self):
        metrics = self.metrics()
        return {kind: metrics[f"{kind}_open"] for kind in ("connections", "handshakes", "webtransport_sessions")}

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.dir.cleanup()


def prefer(process):
    """Lets a process run before attackers, which in reality have machines of their own; what is measured is then the server,
    not how the system shares the CPU. False if that is not permitted."""
    try:
        os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


class Honest:
    """`mio-quiche bench` at a modest rate, which serves as the honest client."""

    def __init__(self, server, seconds):
        before = server.metrics()["handshakes_total"]
        command = [server.binary, "bench", server.url + "/", "-k", "-c", "2", "-m", "2", "-r", "100"]
        command += ["-t", str(seconds), "--timeout", "10", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.is_preferred = server.preferred
        if server.preferred:
            prefer(self.process)
        wait("the honest client's handshakes", lambda: server.metrics()["handshakes_total"] >= before + 2)

    def finish(self):
        """Percentiles in ms, and what went wrong."""
        out, errors = self.process.communicate(timeout=2 * DEADLINE)
        try:
            found = json.loads(out)
        except ValueError:
            return None, None, errors.strip()[-200:] or "no output"
        latency = found.get("latency_ms") or {}
        # Where the server shares the CPU with attackers and other tests, the last requests may still be under way.
        allowed = set() if self.is_preferred else {"unfinished"}
        is_served = self.process.returncode == 0 or found["requests"] > 0 and set(found["errors"]) <= allowed
        failed = None if is_served else f"{found['requests']} of {found['started']} requests served"
        return latency.get("p50"), latency.get("p99"), failed


def wait(what, check, deadline=DEADLINE):
    """`what` may be a function that says what is missing at the deadline."""
    end = time.monotonic() + deadline
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline} s: {what() if callable(what) else what}")
        time.sleep(0.01)


@dataclass
class Measured:
    name: str
    rss: tuple[float, float, float]
    cpu: float
    close: str
    # The honest client's latencies count: nothing but the server delays it.
    preferred: bool
    alone: tuple
    beside: tuple
    sent: float
    found: dict
    wrong: list[str]


def judge(attack, found, growth):
    """What is not as the attack expects it."""
    wrong = []
    expected = attack.close if isinstance(attack.close, tuple) else (attack.close,)
    close, reason = found.get("close"), found.pop("reason", "")
    if close not in expected and not (None in expected and reason == UNACKNOWLEDGED):
        wrong.append(f"close {close} ({reason}), not {attack.close}")
    resets = found.get("resets", {})
    if set(resets) - ({"H3_REQUEST_REJECTED"} if attack.too_many else set()) != set(attack.resets):
        wrong.append(f"resets {resets}, not {list(attack.resets)}")
    if growth > attack.memory:
        wrong.append(f"memory grew by {growth:.1f} MiB, more than {attack.memory}")
    for name, expected in attack.found.items():
        value = found.get(name)
        if not (expected(value) if callable(expected) else value == expected):
            wrong.append(f"{name} is {value}")
    return wrong


def measure(attack, binary, seconds, alone):
    """Runs an attack against a server of its own; with `alone`, the honest client runs alone before."""
    seconds = max(seconds, attack.seconds)
    server = Server(binary, *attack.server)
    try:
        server.preferred = alone and prefer(server.process)
        alone = Honest(server, 2).finish() if alone else (None, None, None)
        honest = Honest(server, seconds + 0.2)
        before, cpu = server.memory("VmRSS"), server.cpu()
        received = server.metrics()["udp_received_bytes_total"]
        # What has to end with a close goes on until it comes, on a busy machine for longer.
        patience = DEADLINE if isinstance(attack.close, str) else 0
        found = attack.act(server.url, time.monotonic() + seconds + patience)
        found["cut_off"] = server.metrics()["excessive_peers_total"]
        beside = honest.finish()
        wrong = judge(attack, found, server.memory("VmHWM") - before)
        if beside[2] is not None:
            wrong.append(f"the honest client: {beside[2]}")
        cpu = server.cpu() - cpu
        received = server.metrics()["udp_received_bytes_total"] - received
        # Everything ends, and is given back.
        wait(lambda: f"the end of what is open: {server.open()}", lambda: not any(server.open().values()))
        after = Peer(server.url)
        stream = after.reserve()
        after.send(stream, request(), fin=True)
        after.finished(stream)
        after.close()
        if "panicked" in server.logged():
            wrong.append(server.logged())
        rss = before, server.memory("VmHWM"), server.memory("VmRSS")
        close = found.pop("close", None)
        return Measured(attack.name, rss, cpu, close, server.preferred, alone, beside, received, found, wrong)
    except Exception as error:
        raise RuntimeError(f"{attack.name}: {error}; the server's log: {server.logged()[-1000:]}") from error
    finally:
        server.stop()
