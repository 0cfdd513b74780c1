"""The cases of the WebTransport runner: an exchange of the same kind with the demo's echo.

The runner's own requests (GET and PUSH) are an application's protocol, which the demo does not have.
"""

import functools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass

import servers
from link import Link, Network
from process import Failure, NotRun, Process, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
STREAMS, SIZE = 20, 50_000
# Datagrams, each with this many bytes.
DATAGRAMS, DATAGRAM = 50, 1000


@dataclass(frozen=True)
class Case:
    name: str
    letters: str
    about: str
    seconds: float = 30.0
    gap: None = None


CASES = (
    Case("wt-handshake", "H", "a session opens and closes, with a subprotocol"),
    Case("wt-transfer-unidirectional-receive", "UR", f"{STREAMS} unidirectional streams of the server"),
    Case("wt-transfer-unidirectional-send", "US", f"{STREAMS} unidirectional streams of the client"),
    Case("wt-transfer-bidirectional-receive", "BR", "bidirectional streams that the server opens"),
    Case("wt-transfer-bidirectional-send", "BS", f"{STREAMS} bidirectional streams that the client opens"),
    Case("wt-transfer-datagram-receive", "DR", f"{DATAGRAMS} datagrams of the server"),
    Case("wt-transfer-datagram-send", "DS", f"{DATAGRAMS} datagrams of the client"),
)


def kind(case):
    return case.name.split("-")[-2] if case.name.count("-") > 1 else "handshake"


class AioquicServer:
    """The server of tests/it/aioquic."""

    name = "aioquic"
    host = "127.0.0.1"

    def __init__(self, tools, fixture, directory, case):
        script = os.path.join(os.path.dirname(HERE), "it", "aioquic", "server.py")
        command = [tools["python"], "-B", script, fixture.path("cert.pem"), fixture.path("key.pem")]
        self.process = Process(command, directory, "server")
        self.port = int(wait_for("aioquic's port", lambda: self.process.text().strip()))

    @staticmethod
    def path(case):
        return "/open" if case.name.endswith("-receive") and kind(case) != "datagram" else "/echo"

    # What /open sends.
    opened = {"unidirectional": ["one way\n"], "bidirectional": ["both ways\n"]}

    def stop(self):
        self.process.stop()


class OurServer(servers.Ours):
    @staticmethod
    def path(case):
        return "/wt/echo?open=10" if case.name == "wt-transfer-bidirectional-receive" else "/wt/echo"

    opened = {"bidirectional": [f"server stream {n}\n" for n in range(10)]}


def our_client(tools, fixture, directory, case, server, url):
    """`mio-quiche wt`, which checks what comes back."""
    command = [tools["binary"], "wt", "--json", "--cacert", fixture.path("ca.pem"), "--timeout", "25"]
    opens = server.opened.get(kind(case)) if case.name.endswith("-receive") else None
    match kind(case):
        case "handshake":
            command += ["--subprotocol", "echo-v1"]
        case _ if opens:
            command += ["--wait", "1"]
        case "unidirectional":
            command += ["--uni", str(STREAMS), "--size", str(SIZE)]
        case "bidirectional":
            command += ["--bidi", str(STREAMS), "--size", str(SIZE)]
        case "datagram":
            command += ["--datagrams", str(DATAGRAMS), "--size", str(DATAGRAM)]
    process = Process([*command, url], directory, "client", {"RUST_LOG": "off"})
    try:
        process.wait(case.seconds)
    finally:
        process.stop()
    found = json.loads(process.text())
    if opens:
        wanted = {"unidirectional": "uni", "bidirectional": "bidi"}[kind(case)]
        texts = sorted(stream["text"] for stream in found["peer_streams"] if stream["kind"] == wanted)
        expect("streams of the server", texts, sorted(opens))
        return
    match kind(case):
        case "handshake":
            expect("the subprotocol", found["subprotocol"], "echo-v1")
        case "unidirectional":
            expect("answered streams", found["uni"]["answered"], STREAMS)
            expect("bytes", found["uni"]["bytes"], STREAMS * SIZE)
        case "bidirectional":
            expect("equal streams", found["bidi"]["equal"], STREAMS)
            expect("bytes", found["bidi"]["bytes"], STREAMS * SIZE)
        case "datagram":
            expect("datagrams back", found["datagrams"]["back"], DATAGRAMS)
            expect("wrong datagrams", found["datagrams"]["wrong"], 0)


def aioquic_client(tools, fixture, directory, case, server, url):
    command = [tools["python"], "-B", os.path.join(HERE, "aioquic_wt.py"), case.name, url]
    process = Process(command, directory, "client")
    try:
        process.wait(case.seconds)
    finally:
        process.stop()


def expect(what, found, wanted):
    if found != wanted:
        raise Failure(f"{what}: {found}, not {wanted}")


class Run:
    def __init__(self, tools, fixture, case, client, server):
        self.tools, self.fixture, self.case, self.client, self.server = tools, fixture, case, client, server

    def run(self):
        directory = tempfile.mkdtemp(prefix="cell-", dir=self.fixture.directory)
        places = [os.path.join(directory, name) for name in ("client", "server")]
        for place in places:
            os.mkdir(place)
        server = self.server(self.tools, self.fixture, places[1], self.case)
        link = Link((server.host, server.port), Network(), seed=self.case.name)
        try:
            url = f"https://127.0.0.1:{link.address[1]}{server.path(self.case)}"
            self.client(self.tools, self.fixture, places[0], self.case, server, url)
            expect("connections", len(link.trace.connections), 1)
        finally:
            server.stop()
            link.close()
        shutil.rmtree(directory, ignore_errors=True)


# ---- peers whose tests are in tests/it ----

BROWSER = {
    "wt-handshake": "browser::sessions::subprotocols::{}",
    "wt-transfer-unidirectional-receive": "browser::streams::unidirectional_streams_are_answered::{}",
    "wt-transfer-unidirectional-send": "browser::streams::unidirectional_streams_are_answered::{}",
    "wt-transfer-bidirectional-receive": "browser::streams::streams_that_the_server_opens::{}",
    "wt-transfer-bidirectional-send": "browser::streams::a_large_echo_on_a_stream::{}",
    "wt-transfer-datagram-receive": "browser::streams::datagrams::{}",
    "wt-transfer-datagram-send": "browser::streams::datagrams::{}",
}
WTRANSPORT = {
    "wt-handshake": "wtransport::the_client_closes",
    "wt-transfer-unidirectional-receive": "wtransport::three_hundred_streams_of_each_kind",
    "wt-transfer-unidirectional-send": "wtransport::three_hundred_streams_of_each_kind",
    "wt-transfer-bidirectional-receive": "wtransport::streams_that_the_server_opens",
    "wt-transfer-bidirectional-send": "wtransport::three_hundred_streams_of_each_kind",
    "wt-transfer-datagram-receive": "wtransport::datagrams_and_streams",
    "wt-transfer-datagram-send": "wtransport::datagrams_and_streams",
}
TESTED = {
    "chromium": {name: test.format("chromium") for name, test in BROWSER.items()},
    "firefox": {name: test.format("firefox") for name, test in BROWSER.items()},
    "wtransport": WTRANSPORT,
}
# A browser does one thing at a time.
_locks = {name: threading.Lock() for name in TESTED}


@functools.cache
def tested(binary, test):
    """Runs a test of tests/it; None if it passed."""
    process = subprocess.run(
        [binary, "--exact", test, "--test-threads", "1"], capture_output=True, text=True, timeout=120,
        cwd=os.path.dirname(os.path.dirname(HERE)), stdin=subprocess.DEVNULL,
    )
    if "running 1 test" not in process.stdout:
        return f"no test {test}"
    return None if process.returncode == 0 else " ".join((process.stdout + process.stderr).split())[-300:]


class Tested:
    """A cell that a test of tests/it stands for."""

    def __init__(self, tools, peer, case):
        self.tools, self.peer, self.case = tools, peer, case

    def run(self):
        if not self.tools.get("tests"):
            raise NotRun("the tests were not built (--tests)")
        with _locks[self.peer]:
            if failure := tested(self.tools["tests"], TESTED[self.peer][self.case.name]):
                raise Failure(failure)
