"""Servers: ours and those of others. Each serves the same files, and stops when it is closed."""

import functools
import http.server
import os
import re
import shutil
import socket
import threading
import urllib.request

from process import Failure, Process, free_port, is_bound, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


def host_of(case):
    return "::1" if case.name == "ipv6" else "127.0.0.1"


def bracketed(host):
    return f"[{host}]" if ":" in host else host


class Server:
    """Started for a cell, in its directory. `fixture` has certificates and files."""

    name = ""
    # What the peer lacks, or quiche, by the name of the case.
    unsupported = {}
    # Cases that need one side to do something, and that this side does.
    provides = ()
    # The path before the name of a file.
    prefix = "/"
    # It sends a Retry whether or not the case wants one.
    always_retry = False

    def __init__(self, tools, fixture, directory, case):
        self.tools, self.fixture, self.directory, self.case = tools, fixture, directory, case
        self.host = host_of(case)
        certificates = ["large"] if case.name == "amplificationlimit" else []
        self.cert, self.key = (fixture.path(*certificates, name) for name in ("cert.pem", "key.pem"))
        self.port = free_port(self.host)
        self.process = None
        self.start()

    def run(self, command, env=None):
        self.process = Process(command, self.directory, "server", env)
        wait_for(f"{self.name} listens", lambda: is_bound(self.port) or self.process.child.poll() is not None)
        if self.process.child.poll() is not None:
            self.process.wait(0)

    def stop(self):
        if self.process:
            self.process.stop()

    def check(self, run):
        """Judges what the server knows of a cell."""


class Ours(Server):
    name = "mio-quiche"
    prefix = "/files/"

    def start(self):
        case = self.case.name
        command = [self.tools["binary"], "serve", "--demo", "--listen", f"{bracketed(self.host)}:0"]
        command += ["--admin", "127.0.0.1:0", "--cert", self.cert, "--key", self.key, "--log", "warn"]
        command += [self.fixture.path("root")]
        command += ["--handshake-timeout", "100", "--retry", "on" if case == "retry" else "off"]
        command += ["--shutdown-timeout", "1"]
        command += ["--early-data"] if case == "zerortt" else []
        # With WebTransport, clients may open more streams than the server takes requests.
        command += ["--no-webtransport"] if case == "multiplexing" else []
        if case == "chacha20":
            os.mkdir(os.path.join(self.directory, "qlogs"))
            command += ["--qlog-dir", "qlogs"]
        else:
            command += ["--no-qlog"]
        self.process = Process(command, self.directory, "server")
        ports = wait_for("the server's ports", self.ports)
        self.port, self.admin = ports

    def ports(self):
        if self.process.child.poll() is not None:
            self.process.wait(0)
        found = re.findall(r":(\d+)/?$", self.process.text(), re.MULTILINE)
        return [int(port) for port in found] if len(found) == 2 else None

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name.removeprefix("mio_quiche_"): float(value) for name, value in pairs}

    def check(self, run):
        metrics = self.metrics()

        def at_least(name, least):
            if metrics[name] < least:
                raise Failure(f"the server's {name} is {metrics[name]:.0f}, not {least}")

        def at_most(name, most):
            if metrics[name] > most:
                raise Failure(f"the server's {name} is {metrics[name]:.0f}")

        match self.case.name:
            case "retry":
                at_least("retries_total", 1)
            case "resumption":
                at_least("resumed_handshakes_total", 1)
            case "zerortt":
                # Those that the client's congestion window has room for.
                at_least("early_requests_total", len(self.case.files) // 2)
            case "rebind-port" | "rebind-addr" | "connectionmigration":
                at_least("migrations_total", 1)
            case "chacha20":
                run.check_cipher(os.path.join(self.directory, "qlogs"))
            case "multiplexing":
                at_most("rejected_requests_total", 0)
        if "panicked" in open(self.process.err, errors="replace").read():
            raise Failure("the server panicked")


# Of quiche's examples.
IDLE = "its idle timeout of 5 s is shorter than some of these handshakes"

class Gtlsserver(Server):
    name = "ngtcp2"
    provides = ("chacha20",)

    def start(self):
        options = ["--htdocs", self.fixture.path("root"), "-q", "--no-quic-dump", "--no-http-dump"]
        options += ["--validate-addr"] if self.case.name == "retry" else []
        options += ["--max-streams-bidi", "1000"] if self.case.name == "multiplexing" else []
        if self.case.name == "chacha20":
            options += ["--ciphers", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"]
        self.run([self.tools["gtlsserver"], *options, self.host, self.port, self.key, self.cert])


class Nginx(Server):
    name = "nginx"
    provides = ("chacha20",)
    unsupported = {
        "zerortt": "Debian's nginx has QUIC on OpenSSL's compatibility layer, without 0-RTT",
    }

    def start(self):
        case, lines = self.case.name, []
        lines += ["quic_retry on;"] if case == "retry" else []
        lines += ["ssl_early_data on;"] if case == "zerortt" else []
        lines += ["ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;"] if case == "chacha20" else []
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{name}_temp_path {name};" for name in names)
        config = (
            f"daemon off; master_process off; pid pid; error_log stderr info; events {{ }}\n"
            f"http {{ access_log off; {temporary} keepalive_requests 10000;\n"
            f"server {{ listen {bracketed(self.host)}:{self.port} quic; ssl_certificate {self.cert};\n"
            f"ssl_certificate_key {self.key}; root {self.fixture.path('root')}; {' '.join(lines)} }} }}\n"
        )
        path = os.path.join(self.directory, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        self.run([self.tools["nginx"], "-p", self.directory, "-c", path, "-e", "stderr"])


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


class Backend(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        """Of connections that haproxy resets."""


class Haproxy(Server):
    """In front of an HTTP/1.1 server, as it serves no files itself."""

    name = "haproxy"
    provides = ("chacha20",)
    no_migration = "haproxy 3.0 allows no migration, and does not follow a client to another address"
    unsupported = {
        "zerortt": "Debian's haproxy has QUIC on OpenSSL's compatibility layer, without 0-RTT",
        "rebind-port": no_migration,
        "rebind-addr": no_migration,
        "connectionmigration": no_migration,
    }

    def start(self):
        handler = functools.partial(Quiet, directory=self.fixture.path("root"))
        self.backend = Backend(("127.0.0.1", 0), handler)
        threading.Thread(target=self.backend.serve_forever, daemon=True).start()
        case = self.case.name
        pem = os.path.join(self.directory, "both.pem")
        with open(pem, "w") as out:
            for part in (self.cert, self.key):
                with open(part) as file:
                    shutil.copyfileobj(file, out)
        ciphers = " ciphersuites TLS_CHACHA20_POLY1305_SHA256" if case == "chacha20" else ""
        retry = " quic-force-retry" if case == "retry" else ""
        address = f"quic6@[{self.host}]" if ":" in self.host else f"quic4@{self.host}"
        config = (
            "global\n  limited-quic\n  nbthread 1\n  maxconn 2000\n"
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend f\n  bind {address}:{self.port} ssl crt {pem} alpn h3{ciphers}{retry}\n  default_backend b\n"
            f"backend b\n  server s 127.0.0.1:{self.backend.server_address[1]} maxconn 16\n"
        )
        path = os.path.join(self.directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(config)
        self.run([self.tools["haproxy"], "-db", "-f", path])

    def stop(self):
        super().stop()
        self.backend.shutdown()
        self.backend.server_close()


class Aioquic(Server):
    name = "aioquic"
    provides = ("chacha20", "keyupdate")

    def start(self):
        script = os.path.join(HERE, "aioquic_server.py")
        arguments = [self.host, self.port, self.cert, self.key, self.fixture.path("root"), self.case.name]
        self.run([self.tools["python"], "-B", script, *arguments])


class QuicheExample(Server):
    """The example of the quiche crate, which knows no options: its port is 4433, and its paths are fixed."""

    name = "quiche"
    always_retry = True
    no_options = "quiche's http3-server takes no options"
    no_migration = "it forbids migration, and then quiche drops packets from other addresses"
    unsupported = {
        "chacha20": no_options,
        "ipv6": f"{no_options}, and listens on 127.0.0.1",
        "zerortt": f"{no_options}, and has no 0-RTT",
        "amplificationlimit": "it validates every client by a Retry first",
        "rebind-port": no_migration,
        "rebind-addr": no_migration,
        "connectionmigration": no_migration,
        "handshakeloss": IDLE,
        "handshakecorruption": IDLE,
    }
    PORT = 4433
    one_at_a_time = threading.Lock()

    def start(self):
        self.lock = None
        QuicheExample.one_at_a_time.acquire()
        # Whoever has the TCP port may use the UDP port; tests/it does the same.
        self.lock = wait_for("the port 4433 is free", self.locked, 60)
        self.port = self.PORT
        examples = os.path.join(self.directory, "examples")
        os.mkdir(examples)
        os.symlink(self.fixture.path("root"), os.path.join(examples, "root"))
        shutil.copy(self.cert, os.path.join(examples, "cert.crt"))
        shutil.copy(self.key, os.path.join(examples, "cert.key"))
        self.run([self.tools["http3_server"]], {"RUST_LOG": "off"})

    def locked(self):
        lock = socket.socket()
        lock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            lock.bind(("127.0.0.1", self.PORT))
            lock.listen()
        except OSError:
            lock.close()
            return None
        return lock

    def stop(self):
        super().stop()
        if self.lock:
            self.lock.close()
        QuicheExample.one_at_a_time.release()


FOREIGN = (Gtlsserver, Nginx, Haproxy, QuicheExample, Aioquic)
