"""Processes with deadlines, and what cells report."""

import os
import signal
import socket
import subprocess
import time


class Failure(Exception):
    """The peers did not do what the case wants."""


class Unsupported(Exception):
    """The peer has no such thing; the text says why."""


class Gap(Exception):
    """quiche has no such thing; the text says what."""


class NotRun(Exception):
    """The cell could not be run; the text says why."""


def tail(path, size=400):
    try:
        with open(path, errors="replace") as file:
            return " ".join(file.read()[-size:].split())
    except OSError:
        return ""


# Those that run.
RUNNING = set()


class Process:
    """A child in a process group of its own, which ends with it. Its output goes to files NAME.out and NAME.err."""

    def __init__(self, command, directory, name, env=None):
        self.command, self.name = [str(part) for part in command], name
        self.out, self.err = (os.path.join(directory, f"{name}.{kind}") for kind in ("out", "err"))
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.child = subprocess.Popen(
                self.command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=os.environ | (env or {}), start_new_session=True,
            )
        RUNNING.add(self)

    def wait(self, seconds):
        """Waits for success."""
        try:
            status = self.child.wait(max(0.1, seconds))
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failure(f"{self.name} was not done in time: {tail(self.err) or tail(self.out)}") from None
        if status:
            raise Failure(f"{self.name} ended with {status}: {tail(self.err) or tail(self.out)}")

    def text(self):
        with open(self.out, errors="replace") as out:
            return out.read()

    def stop(self, gently=0.0):
        """Ends the group; with `gently`, by SIGTERM first, for so many seconds."""
        if self.child.poll() is None and gently:
            self.child.terminate()
            try:
                self.child.wait(gently)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        RUNNING.discard(self)


def stop_all():
    for process in list(RUNNING):
        process.stop()


def wait_for(what, check, seconds=10.0):
    end = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return found


def free_port(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def is_bound(port):
    """Does somebody have this UDP port?"""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with open(table) as lines:
            if any(line.split()[1].endswith(f":{port:04X}") for line in list(lines)[1:]):
                return True
    return False
