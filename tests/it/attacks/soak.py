"""soak.py [--server BINARY] [--minutes N]: one server under mixed load, round after round, until its memory is known.

A round has twelve seconds of requests, uploads, echoed datagrams and streams of sessions, transfers that move to another
port, and attacks, all at the same time. After it, everything must have ended and been given back. A line for each round
has the server's memory (RSS in MiB) and what it has done so far. It exits with 1 if a client failed (of a hundred
datagrams one may be lost), or if the median memory of the last third is higher than that of the second third by more than
5 % and 2 MiB: in the first third the allocator finds its size.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE.parent / "aioquic"), str(HERE.parent / "conformance")]

import frames
import http3
import webtransport
from attack import Server, wait

SECONDS = 12
# Attacks that need no server of their own, and end within a round.
ATTACKS = [
    attack for attack in frames.ATTACKS + http3.ATTACKS + webtransport.ATTACKS
    if attack.quick and not attack.server and attack.name != "bursts"
]
LOADS = [
    ["/", "-c", "4", "-m", "8", "-r", "2000"],
    ["/stream/20000", "-c", "2", "-m", "2", "-r", "200"],
    ["/upload", "-c", "2", "-m", "2", "-r", "40", "--upload", "100000"],
    ["/wt/echo", "-c", "4", "-m", "4", "-r", "1000", "--wt", "datagram"],
    ["/wt/echo", "-c", "4", "-m", "4", "-r", "500", "--wt", "stream", "--size", "5000"],
]


def load(server, path, *arguments):
    """A client of the command for a round. Returns what went wrong."""
    command = [server.binary, "bench", server.url + path, "-k", "-t", str(SECONDS), "--timeout", "10", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60)
    if done.returncode == 0 or "datagram" in arguments and is_loss(done.stdout):
        return None
    return f"{' '.join(arguments)}: {done.returncode}: {done.stderr.strip()[-300:]}"


def is_loss(report):
    """Whether nothing but datagrams got lost, and few of them: nobody repeats one that a full socket drops."""
    report = json.loads(report or "{}")
    errors = report.get("errors", {"report": 1})
    return set(errors) <= {"lost", "unfinished"} and sum(errors.values()) * 100 <= report["started"]


def moves(server, until):
    """Downloads that move to another port, one after the other."""
    while time.monotonic() < until:
        command = [server.binary, "get", "-k", "--migrate", "-o", "/dev/null", server.url + "/stream/2000000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            return f"get --migrate: {done.returncode}: {done.stderr.strip()[-300:]}"
    return None


def attacks(server, until, following):
    """Attacks one after the other. Returns the names of those that failed by themselves."""
    wrong = []
    while time.monotonic() < until:
        attack = next(following)
        try:
            attack.act(server.url, min(until, time.monotonic() + 1))
        except Exception as error:
            wrong.append(f"{attack.name}: {error}")
    return "; ".join(wrong) or None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--server", default="target/release/mio-quiche")
    parser.add_argument("--minutes", type=float, default=120)
    arguments = parser.parse_args()
    server = Server(str(pathlib.Path(arguments.server).resolve()))
    following, memory, wrong = cycle(ATTACKS), [], []
    end = time.monotonic() + 60 * arguments.minutes
    print(f"{server.memory('VmRSS'):.1f} MiB before", flush=True)
    try:
        while time.monotonic() < end:
            until = time.monotonic() + SECONDS
            with ThreadPoolExecutor(len(LOADS) + 2) as pool:
                clients = [pool.submit(load, server, *arguments) for arguments in LOADS]
                clients += [pool.submit(moves, server, until), pool.submit(attacks, server, until, following)]
            found = [client.result() for client in clients if client.result() is not None]
            wait(lambda: f"the end of what is open: {server.open()}", lambda: not any(server.open().values()), 60)
            memory.append(server.memory("VmRSS"))
            metrics = server.metrics()
            counts = ("requests", "webtransport_sessions_opened", "migrations", "cancelled_streams", "excessive_peers")
            done = ", ".join(f"{name} {metrics.get(f'{name}_total', 0):.0f}" for name in counts)
            print(f"{len(memory)}: {memory[-1]:.1f} MiB; {done}{''.join(f'; {what}' for what in found)}", flush=True)
            wrong += found
            if "panicked" in server.logged():
                wrong.append(server.logged()[-1000:])
                break
    finally:
        server.stop()
    third = max(len(memory) // 3, 1)
    before, after = statistics.median(memory[third:2 * third] or memory), statistics.median(memory[-third:])
    print(f"{before:.1f} MiB in the second third, {after:.1f} MiB in the last; {len(wrong)} failures")
    sys.exit(bool(wrong) or after > before * 1.05 + 2)


main()
