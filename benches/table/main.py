"""main.py [--rounds N] [--seconds N] [--mib N] [--peer NAME]... [--suite NAME]... [--compare NAME] [--json FILE] [--write]
[--needs] [--list]

Measures servers and clients in turns and prints the medians as tables in Markdown. scripts/bench explains the options and
the tables, and builds and installs the programs. Their paths are in the variables MIO_QUICHE_*, those of them that the
other options ask for are printed with --needs; with --compare MIO_QUICHE_BASELINE is the server of that name.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests/interop"))

import process
import report
import suites
from measure import Cores
from servers import BUN, HTTP, BunServer, Fixture
from suites import CLIENTS, FANOUT, GROUPS, SESSIONS, SUITES, Bench

DOCUMENT = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- the tables, by scripts/bench --write -->", "<!-- end of the tables -->"


def positive(text):
    if not re.fullmatch("[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def parsed(arguments):
    peers = list(dict.fromkeys([*HTTP, *SESSIONS, *FANOUT, *BUN, *CLIENTS]))
    names = [*GROUPS, *(suite.name for suite in SUITES)]
    parser = argparse.ArgumentParser(usage=__doc__)
    for name, default in (("rounds", 3), ("seconds", 2), ("mib", 256)):
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--peer", action="append", choices=[peer for peer in peers if peer != "baseline"])
    parser.add_argument("--suite", action="append", choices=names)
    parser.add_argument("--compare")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--needs", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(arguments)
    if options.write and (options.peer or options.suite):
        parser.error("--write wants all suites and peers")
    options.peer = options.peer or [peer for peer in peers if peer != "baseline"]
    options.peer += ["baseline"] if options.compare else []
    wanted = options.suite or [suite.name for suite in SUITES]
    wanted = {name for given in wanted for name in GROUPS.get(given, (given,))}
    options.suites = [suite for suite in SUITES if suite.name in wanted]
    options.names, options.peers = names, peers
    return options


def needed(options):
    """The variables of the programs that take part, in a fixed order."""
    variables = {}
    for suite in options.suites:
        takes_part = [peer for peer in suite.peers if peer in options.peer]
        if takes_part:
            found = [*suite.programs, *(suites.variable_of(suite, peer) for peer in takes_part)]
            variables |= dict.fromkeys(found)
    return list(variables)


class Progress:
    """What is going on, in one line of a terminal."""

    def __init__(self):
        self.is_shown = sys.stderr.isatty()

    def show(self, text):
        if self.is_shown:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def complain(self, text):
        self.show("")
        print(text, file=sys.stderr, flush=True)


def measure_all(options, bench, progress):
    results, turns = report.Results(), []
    for suite in options.suites:
        chosen = [peer for peer in suite.peers if peer in options.peer]
        peers = [peer for peer in chosen if bench.tools.get(suites.variable_of(suite, peer))]
        # Without its loads, a suite is left out.
        if all(bench.tools.get(variable) for variable in suite.programs):
            results.expect(suite.table, [row for step in suite.steps for row in step.rows], peers)
            turns.append((suite, peers))
    for number in range(options.rounds):
        for suite, peers in turns:
            # The neighbours of a peer change, and who of two builds comes first.
            for peer in reversed(peers) if number % 2 else peers:
                progress.show(f"round {number + 1} of {options.rounds}: {suite.name}, {suites.title_of(peer)}")
                take_turn(bench, suite, peer, number, results, progress)
    progress.show("")
    return results


def take_turn(bench, suite, peer, number, results, progress):
    """All steps of a suite with one peer."""
    server = None
    for step in suite.steps:
        if number >= step.rounds or step.workers > 1 and not HTTP[peer].has_workers:
            continue
        try:
            if server and step.fresh:
                server.stop()
                server = None
            server = server or suite.start(bench, peer, step.workers)
            figures = step.run(bench, server, peer) or []
        except (process.Failure, OSError, ValueError, KeyError) as error:
            progress.complain(f"round {number + 1}: {suites.title_of(peer)}, {step.rows[0]}: {error}")
            for row in step.rows:
                results.fail(suite.table, row, peer)
            continue
        for row, figure in zip(step.rows, figures):
            if figure is not None:
                results.add(suite.table, row, peer, number, figure)
    if server:
        server.stop()


def about(options, tools, taken):
    """What was measured where: for readers of the table."""
    def output(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip()

    with open("/proc/cpuinfo") as info:
        model = re.search(r"^model name\s*:\s*(.*)$", info.read(), re.MULTILINE)
    cores = f"{len(os.sched_getaffinity(0))} cores"
    lines = [
        f"Commit {output('git', 'rev-parse', '--short', 'HEAD') or 'unknown'}"
        + (f" beside {options.compare}" if options.compare else "")
        + f", {datetime.date.today()}; {cores} of {model[1] if model else platform.machine()},"
        f" Linux {platform.release()}.",
        f"Rounds: {options.rounds}; {options.seconds} s for each load, bodies of {options.mib} MiB; {taken / 60:.0f} minutes"
        " in all.",
    ]
    versions = [f"{server.title} {server.version(tools)}" for peer, server in HTTP.items()
                if peer in options.peer and tools.get(server.variable) and server.version(tools)]
    versions += [f"Bun {BunServer.version(tools)}"] if tools.get(BunServer.variable) else []
    return "\n".join(lines) + ("\n" + ", ".join(versions) + "." if versions else "")


def names_of(variables):
    return ", ".join(variable.removeprefix("MIO_QUICHE_").lower().replace("_", "-") for variable in variables)


def document(text):
    """Puts the tables into their place in the document."""
    before, found, rest = DOCUMENT.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        sys.exit(f"{DOCUMENT} has no place for the tables")
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main():
    options = parsed(sys.argv[1:])
    if options.list:
        print("suites:", *options.names)
        print("peers:", *(peer for peer in options.peers if peer != "baseline"))
        return 0
    variables = needed(options)
    if options.needs:
        print(*variables, sep="\n")
        return 0
    tools = {variable: os.environ.get(variable) for variable in variables}
    tools = {variable: path for variable, path in tools.items() if path and os.access(path, os.X_OK)}
    missing = [variable for variable in variables if variable not in tools]
    progress, begun = Progress(), time.monotonic()
    allow_descriptors(65_536)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        bench = Bench(tools, Fixture(directory, options.mib), Cores(os.sched_getaffinity(0)), options.seconds)
        try:
            results = measure_all(options, bench, progress)
        finally:
            process.stop_all()
    title_of = lambda peer: f"ours at {options.compare}" if peer == "baseline" else suites.title_of(peer)
    tables = [report.table(results, name, title_of) for name in results.rows if results.peers[name]]
    if not tables:
        sys.exit(f"nothing to measure; not installed: {names_of(missing)}")
    text = "\n\n".join([about(options, tools, time.monotonic() - begun), *tables])
    if missing:
        text += f"\n\nNot installed: {names_of(missing)}."
    print(text)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results.raw(), indent=1) + "\n")
    if options.write:
        document(text)
    return 1 if results.failed else 0


def allow_descriptors(count):
    """For servers with a socket for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    except (ValueError, OSError):
        # Only root may have more.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ended(number, _):
    # By an exception: here, a lock of the process that is just waited for may be held.
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    sys.exit(128 + number)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

if __name__ == "__main__":
    for name in SIGNALS:
        signal.signal(name, ended)
    sys.exit(main())
