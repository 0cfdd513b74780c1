"""Clients: ours and those of others. Each fetches files into its directory, under the last part of their paths."""

import itertools
import json
import os

from process import Failure, Process, Unsupported
from servers import IDLE

HERE = os.path.dirname(os.path.abspath(__file__))


class Client:
    name = ""
    # What the peer lacks, by the name of the case.
    unsupported = {}
    # What quiche lacks, so that the server has to do it.
    gaps = {}

    def __init__(self, tools, fixture, directory, case):
        self.tools, self.fixture, self.directory, self.case = tools, fixture, directory, case
        self.numbers = itertools.count(1)

    def fetch(self, urls, seconds, first=False):
        """A run of the client, on as few connections as possible. `first`: the one that gets a ticket for the next."""
        number = next(self.numbers)
        directory = os.path.join(self.directory, "files")
        os.makedirs(directory, exist_ok=True)
        command = self.command(urls, directory, first)
        process = Process(command, self.directory, f"client{number}", {"RUST_LOG": "off"})
        try:
            process.wait(seconds)
        finally:
            process.stop()
        self.fetched(urls, directory, process, first)

    def fetched(self, urls, directory, process, first):
        """Judges a run."""

    def authority(self):
        return self.fixture.path(*["large"] if self.case.name == "amplificationlimit" else [], "ca.pem")

    def kept(self, name):
        return os.path.join(self.directory, name)


class Ours(Client):
    name = "mio-quiche"
    gaps = {
        "chacha20": "quiche lets nobody choose cipher suites, so the peer has to",
        "keyupdate": "quiche starts no key update, and this server cannot be told to",
    }

    def command(self, urls, directory, first):
        case = self.case.name
        command = [self.tools["binary"], "get", "--cacert", self.authority(), "-f", "--report", "-O"]
        # The ticket comes with the first response or soon after it.
        command += ["--repeat", "3"] if first else ["-Z"]
        command += ["--connect-timeout", "100", *urls]
        if case in ("resumption", "zerortt"):
            command += ["--resume-session", self.kept("session")]
        # While fewer requests are under way than a server allows, one connection is enough.
        command += ["--parallel-max", "20"] if case == "multiplexing" else []
        command += ["--0rtt"] if case == "zerortt" else []
        command += ["--migrate"] if case == "connectionmigration" else []
        if case == "chacha20":
            os.mkdir(self.kept("qlogs"))
            command += ["--qlog-dir", self.kept("qlogs")]
        # It writes where it runs.
        return ["/bin/sh", "-c", 'cd files && exec "$@"', "sh", *command]

    def fetched(self, urls, directory, process, first):
        results = [json.loads(line) for line in process.text().splitlines()]
        name = {"resumption": "resumed", "zerortt": "early"}.get(self.case.name)
        if name and not first and not all(result[name] for result in results):
            count = sum(result[name] for result in results)
            resumed = sum(result["resumed"] for result in results)
            raise Failure(f"{count} of {len(results)} responses were {name}, {resumed} resumed")


NO_OPTIONS = "quiche's http3-client takes one URL and no options"


class QuicheExample(Client):
    name = "quiche"
    unsupported = {
        "chacha20": NO_OPTIONS,
        "keyupdate": NO_OPTIONS,
        "resumption": NO_OPTIONS,
        "zerortt": NO_OPTIONS,
        "multiplexing": NO_OPTIONS,
        "http3": NO_OPTIONS,
        "connectionmigration": NO_OPTIONS,
        "handshakeloss": IDLE,
        "handshakecorruption": IDLE,
    }
    # It prints the body.
    one_url = True

    def command(self, urls, directory, first):
        if len(urls) != 1:
            raise Unsupported(NO_OPTIONS)
        return [self.tools["http3_client"], urls[0]]

    def fetched(self, urls, directory, process, first):
        os.rename(process.out, os.path.join(directory, urls[0].rsplit("/", 1)[1]))


class Gtlsclient(Client):
    name = "ngtcp2"

    def command(self, urls, directory, first):
        case = self.case.name
        options = ["--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", "--download", directory]
        options += [] if case == "keyupdate" else ["-q"]
        if case in ("resumption", "zerortt"):
            options += [f"--session-file={self.kept('session')}", f"--tp-file={self.kept('parameters')}"]
            options += ["--wait-for-ticket"] if first else []
            options += ["--disable-early-data"] if case == "resumption" else []
        options += ["--key-update=20ms"] if case == "keyupdate" else []
        options += ["--change-local-addr=20ms"] if case == "connectionmigration" else []
        if case == "chacha20":
            options += ["--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"]
        host, port = urls[0].split("/")[2].rsplit(":", 1)
        return [self.tools["gtlsclient"], *options, host.strip("[]"), port, *urls]

    def fetched(self, urls, directory, process, first):
        if self.case.name != "keyupdate":
            return
        with open(process.err, errors="replace") as err:
            lines = (process.text() + err.read()).splitlines()
        if not any("pkt rx" in line and line.endswith("type=1RTT k=1") for line in lines):
            raise Failure("no packet of the server with the new keys")


class Curl(Client):
    name = "curl"
    unsupported = {
        "keyupdate": "curl has no option for it",
        "resumption": "Debian's curl cannot keep sessions (no SSLS-EXPORT)",
        "zerortt": "Debian's curl cannot keep sessions (no SSLS-EXPORT)",
        "connectionmigration": "curl has no option for it",
    }

    def command(self, urls, directory, first):
        config = self.kept(urls[0].rsplit("/", 1)[1][:20] + ".conf")
        with open(config, "w") as file:
            file.writelines(f'url = "{url}"\n' for url in urls)
        command = [self.tools["curl"], "--http3-only", "--cacert", self.authority(), "-sS", "-f"]
        command += ["--remote-name-all", "--output-dir", directory, "--connect-timeout", "100", "-K", config]
        command += ["-Z"] if len(urls) > 1 else []
        command += ["--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"] if self.case.name == "chacha20" else []
        return command


class Aioquic(Client):
    name = "aioquic"
    unsupported = {"connectionmigration": "aioquic's client cannot change its socket"}

    def command(self, urls, directory, first):
        script = os.path.join(HERE, "aioquic_client.py")
        case = self.case.name
        command = [self.tools["python"], "-B", script, "--directory", directory, "--case", case]
        command += ["--session", self.kept("session")] if case in ("resumption", "zerortt") else []
        command += ["--first"] if first else []
        return command + urls


FOREIGN = (Gtlsclient, Curl, QuicheExample, Aioquic)
