"""main.py [--write] [--peer NAME]... [--case NAME]... [--binary FILE] [--tests FILE] [--jobs N] [--list]

Runs the cases of quic-interop-runner and of its WebTransport part between our server and client and those of others,
and prints a table for each role. It exits with 1 if a cell failed without an explanation.

--write: writes the tables into docs/interop.md; all cells are to be run then
--peer, --case: only these; repeatable
--binary: the program to test
--tests: the program with the tests of tests/it, which drive browsers and wtransport
--jobs: cells at the same time
--list: prints the names of cases and peers
"""

import argparse
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cases
import clients
import process
import report
import run
import servers
import wt

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = {
    "curl": "CURL",
    "gtlsclient": "GTLSCLIENT",
    "gtlsserver": "GTLSSERVER",
    "nginx": "NGINX",
    "haproxy": "HAPROXY",
    "http3_client": "HTTP3_CLIENT",
    "http3_server": "HTTP3_SERVER",
    "python": "PYTHON",
}
SERVER, CLIENT, WT = "server", "client", "webtransport"


@dataclass
class Cell:
    role: str
    peer: str
    case: object
    run: object


def cells(tools, fixture):
    everything = []
    for case in cases.CASES:
        for client in (clients.Ours, *clients.FOREIGN):
            everything.append(Cell(SERVER, client.name, case, run.Run(tools, fixture, case, client, servers.Ours)))
        for server in servers.FOREIGN:
            everything.append(Cell(CLIENT, server.name, case, run.Run(tools, fixture, case, clients.Ours, server)))
    for case in wt.CASES:
        ours = (("mio-quiche", wt.our_client, wt.OurServer), ("aioquic", wt.aioquic_client, wt.OurServer))
        for name, client, server in (*ours, ("aioquic (server)", wt.our_client, wt.AioquicServer)):
            everything.append(Cell(WT, name, case, wt.Run(tools, fixture, case, client, server)))
        everything.extend(Cell(WT, peer, case, wt.Tested(tools, peer, case)) for peer in wt.TESTED)
    return everything


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--binary", default=str(ROOT / "target/debug/mio-quiche"))
    parser.add_argument("--tests")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    tools = {name: os.environ.get(f"MIO_QUICHE_{variable}", "") for name, variable in TOOLS.items()}
    tools |= {"binary": os.path.abspath(arguments.binary), "tests": arguments.tests}
    if arguments.list:
        for case in (*cases.CASES, *wt.CASES):
            print(f"{case.name:36} {case.about}")
        print("peers:", *sorted({cell.peer for cell in cells(tools, None)}))
        return 0
    if missing := [f"MIO_QUICHE_{TOOLS[name]}" for name in TOOLS if not tools[name]]:
        sys.exit(f"set {', '.join(missing)}, or use scripts/interop")
    if arguments.write and (arguments.peer or arguments.case):
        sys.exit("--write wants all cells")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="interop-", ignore_cleanup_errors=True) as directory:
        chosen = cells(tools, run.Fixture(tools["binary"], directory))
        chosen = [cell for cell in chosen if not arguments.peer or cell.peer in arguments.peer]
        chosen = [cell for cell in chosen if not arguments.case or cell.case.name in arguments.case]
        if not chosen:
            sys.exit("no such peer or case; see --list")
        results = run_all(chosen, arguments.jobs)
    print(report.tables(results))
    print(report.summary(results, time.monotonic() - started))
    if arguments.write:
        (ROOT / "docs/interop.md").write_text(report.document(results))
    return any(result.outcome == run.FAIL for result in results)


def run_all(chosen, jobs):
    lock, done = threading.Lock(), 0

    def one(cell):
        nonlocal done
        result = report.Result(cell.role, cell.peer, cell.case, *run.outcome(cell.run))
        with lock:
            done += 1
            if sys.stderr.isatty():
                shown = f"{done}/{len(chosen)} {cell.role} {cell.peer} {cell.case.name}: {result.outcome}"
                print(f"\r\033[K{shown}", end="", file=sys.stderr, flush=True)
            elif result.outcome == run.FAIL:
                print(f"{cell.role} {cell.peer} {cell.case.name}: {result.reason}", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, chosen))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return results


def ended(*_):
    # Threads that wait for processes would keep the program alive.
    process.stop_all()
    os._exit(130)


for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(name, ended)
sys.exit(main())
