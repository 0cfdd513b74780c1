"""CPU time, memory and cores of processes, and the rates of loads."""

import json
import os
import re
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass

from process import Failure, Process


@dataclass(frozen=True)
class Figure:
    """What one round has found for one row and one peer."""

    value: float
    # CPU time of the server for each unit of `value`.
    cost: float | None = None
    # The load generator was busy all the time, so `value` is its own limit.
    limited: bool = False


# A load that was on its core for such a share of the time was the limit.
BUSY = 0.95


def descendants(pid):
    """A process and those it has started, such as the workers of nginx."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found += map(int, children.read().split())
        except OSError:
            continue
    return found


def cpu_seconds(pids):
    """CPU time of all threads of these processes, user and system."""
    nanos, ticks = 0, 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                    nanos += int(stat.read().split()[0])
            with open(f"/proc/{pid}/stat") as stat:
                ticks += sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue
    # A kernel without scheduler statistics shows zeros.
    return nanos / 1e9 if nanos else ticks / os.sysconf("SC_CLK_TCK")


def resident_kib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as status:
            total += int(re.search(r"^VmRSS:\s+(\d+)", status.read(), re.MULTILINE)[1])
    return total


class Cores:
    """The load generator has the last core for itself, the server as many others as it has workers."""

    def __init__(self, available):
        if len(available) < 2:
            raise SystemExit("needs two cores, one for the server and one for the load")
        *self.others, self.load = sorted(available)

    def server(self, workers):
        """With too few cores for its workers, the server shares that of the load."""
        return self.others[:workers] if workers <= len(self.others) else [*self.others, self.load]


def pinned(command, cores):
    return ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]


def run(command, core, seconds):
    """Runs a program on a core; gives its output, the seconds it took, and its CPU seconds."""
    with tempfile.TemporaryDirectory() as directory:
        process = Process(pinned(command, [core]), directory, os.path.basename(command[0]))
        begun = time.monotonic()
        try:
            status = wait_for_usage(process.child, seconds)
            taken = time.monotonic() - begun
            text = process.text()
            if status.code != 0:
                with open(process.err, errors="replace") as err:
                    reason = (err.read().strip() or text.strip() or f"exit code {status.code}").splitlines()[-1]
                raise Failure(reason)
        finally:
            process.stop()
    return text, taken, status.cpu


@dataclass(frozen=True)
class Ended:
    code: int
    cpu: float


def wait_for_usage(child, seconds):
    """Like Popen.wait, with the CPU time of the process."""
    end = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return Ended(child.returncode, usage.ru_utime + usage.ru_stime)
        if time.monotonic() > end:
            raise Failure(f"not done within {seconds:.0f} s")
        time.sleep(0.005)


def run_json(command, core, seconds):
    text, _, _ = run([*command, "--json"], core, seconds)
    return json.loads(text)


def of_rate(report, unit=1e6):
    """The figure of `load get` and `load handshakes`: units in a second, and microseconds of the server for each."""
    done = report["requests"]
    if not done:
        raise Failure("no request was answered")
    cpu, seconds = report["server_cpu_seconds"], report["seconds"]
    is_busy = report["client_cpu_seconds"] >= BUSY * seconds
    return Figure(done / seconds, cpu * unit / done if cpu is not None else None, is_busy)


def of_bytes(report):
    """The figure of `load download` and `load upload`: MB/s, and milliseconds of the server for each MB."""
    megabytes = (report["bytes_received"] + report["bytes_sent"]) / 1e6
    is_busy = report["client_cpu_seconds"] >= BUSY * report["seconds"]
    return Figure(report["mb_per_second"], report["server_cpu_seconds"] * 1e3 / megabytes, is_busy)


def of_scheduled(report, cpu_in_a_second):
    """The figures of `bench --rate`: p50, p99 and p99.9 in microseconds; the first has the server's CPU time."""
    if report["errors"] or report["requests"] != report["started"]:
        raise Failure(f"{report['started']} requests, {report['requests']} answers, errors {report['errors']}")
    latency = {name: 1e3 * milliseconds for name, milliseconds in report["latency_ms"].items()}
    cost = cpu_in_a_second * 1e6 / report["rate"]
    return [Figure(latency["p50"], cost), Figure(latency["p99"]), Figure(latency["p99.9"])]


H2LOAD_BEGINS, H2LOAD_ENDS = "Main benchmark duration is started", "Main benchmark duration is over"


def of_h2load(text, server_cpu, load_cpu, seconds):
    """The figure of h2load: requests in a second, and microseconds of the server for each."""
    rate = re.search(r"^finished in .*?, ([\d.]+) req/s", text, re.MULTILINE)
    outcome = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    if not rate or not outcome or float(rate[1]) == 0:
        raise Failure("h2load measured nothing")
    if int(outcome[1]) or int(outcome[3]):
        raise Failure(f"h2load: {outcome[0]}")
    rate = float(rate[1])
    return Figure(rate, server_cpu / seconds * 1e6 / rate, load_cpu >= BUSY * seconds)


def h2load(command, core, pids, seconds):
    """Runs h2load; the CPU times are taken when it says that its measurement begins and ends."""
    process = subprocess.Popen(
        pinned(command, [core]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end, text, marks = time.monotonic() + seconds, "", []
    try:
        while select.select([process.stdout], [], [], max(0, end - time.monotonic()))[0]:
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            text += piece.decode(errors="replace")
            wanted = H2LOAD_ENDS if marks else H2LOAD_BEGINS
            if len(marks) < 2 and wanted in text:
                marks.append((time.monotonic(), cpu_seconds(pids), cpu_seconds([process.pid])))
        else:
            raise Failure(f"h2load was not done within {seconds:.0f} s: {' '.join(text.split())[-200:]}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if len(marks) < 2:
        raise Failure(f"h2load: {' '.join(text.split())[-200:] or 'nothing'}")
    taken, server, load = (after - before for before, after in zip(*marks))
    return of_h2load(text, server, load, taken)
