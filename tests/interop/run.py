"""A cell: a client, a server, a network and a case."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import cases
from link import Link
from process import Failure, Gap, NotRun, Unsupported

# What a cell came to.
PASS, FAIL, PEER, QUICHE, NOT_RUN = "pass", "fail", "peer", "quiche", "not run"
# How many of several connections are under way at the same time.
AT_ONCE = 5


class Fixture:
    """Certificates and files, made once."""

    def __init__(self, binary, directory):
        self.directory = directory
        subprocess.run([binary, "cert", "--out", directory], check=True, stdout=subprocess.DEVNULL)
        # A certificate of more than 6 kB, by its names.
        hosts = (f"host-number-{n:03}.of-a-very-large-certificate.example" for n in range(100))
        names = (part for host in hosts for part in ("--name", host))
        command = [binary, "cert", "--out", self.path("large"), *names]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert os.path.getsize(self.path("large", "cert.pem")) > 6000
        os.mkdir(self.path("root"))
        self.sums, generator = {}, random.Random(1)
        for name, size in sorted({file for case in cases.CASES for file in case.files}):
            # Text, as quiche's client prints it.
            body = generator.randbytes(size // 2).hex().encode().ljust(size, b".")
            with open(self.path("root", name), "wb") as file:
                file.write(body)
            self.sums[name] = hashlib.sha256(body).hexdigest()

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def check(self, directory, names):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.exists(path):
                raise Failure(f"{name[:20]} is missing")
            with open(path, "rb") as file:
                body = file.read()
            if hashlib.sha256(body).hexdigest() != self.sums[name]:
                raise Failure(f"{name[:20]} is not what the server has: {len(body)} bytes")


class Run:
    def __init__(self, tools, fixture, case, client, server):
        self.tools, self.fixture, self.case = tools, fixture, case
        self.client_type, self.server_type = client, server

    def run(self):
        if self.case.gap:
            raise Gap(self.case.gap)
        gap = self.client_type.gaps.get(self.case.name)
        if gap and self.case.name not in self.server_type.provides:
            raise Gap(gap)
        for peer in (self.client_type, self.server_type):
            if reason := peer.unsupported.get(self.case.name):
                raise Unsupported(reason)
        self.directory = tempfile.mkdtemp(prefix="cell-", dir=self.fixture.directory)
        places = [os.path.join(self.directory, name) for name in ("client", "server")]
        for place in places:
            os.mkdir(place)
        server = self.server_type.__new__(self.server_type)
        link = None
        try:
            server.__init__(self.tools, self.fixture, places[1], self.case)
            link = Link((server.host, server.port), self.case.network, seed=self.case.name)
            client = self.client_type(self.tools, self.fixture, places[0], self.case)
            self.fetch(client, server, link)
            cases.check(self.case, link.trace, server.always_retry)
            server.check(self)
            if self.case.name == "chacha20" and os.path.isdir(os.path.join(places[0], "qlogs")):
                self.check_cipher(os.path.join(places[0], "qlogs"))
        finally:
            if hasattr(server, "process"):
                server.stop()
            if link:
                link.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def fetch(self, client, server, link):
        case, until = self.case, time.monotonic() + self.case.seconds
        names = [name for name, _ in case.files]
        if case.name == "transfer" and getattr(client, "one_url", False):
            names = names[-1:]
        host, port = link.address
        origin = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        urls = [origin + server.prefix + name for name in names]

        def left():
            return until - time.monotonic()

        if case.name in ("resumption", "zerortt"):
            client.fetch(urls[:1], left(), first=True)
            client.fetch(urls[1:], left())
        elif case.connections > 1:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda url: client.fetch([url], left()), urls))
        else:
            client.fetch(urls, left())
        self.fixture.check(os.path.join(client.directory, "files"), names)

    def check_cipher(self, directory):
        """Every connection of ours had ChaCha20."""
        files = [os.path.join(directory, name) for name in os.listdir(directory)]
        shown = subprocess.run([self.tools["binary"], "qlog", *files], capture_output=True, text=True).stdout
        ciphers = re.findall(r"cipher (\S+)", shown)
        if not ciphers or any("CHACHA20" not in cipher.upper() for cipher in ciphers):
            raise Failure(f"ciphers {ciphers}")


def outcome(run):
    """Runs a cell: what it came to, the reason, and the seconds that it took."""
    started = time.monotonic()
    try:
        run.run()
        result = PASS, ""
    except Gap as gap:
        result = QUICHE, str(gap)
    except Unsupported as unsupported:
        result = PEER, str(unsupported)
    except NotRun as reason:
        result = NOT_RUN, str(reason)
    except Exception as error:
        result = FAIL, f"{error}" if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
    return *result, time.monotonic() - started
