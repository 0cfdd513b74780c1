"""Servers: ours and those of others. Each answers `GET /` with the same few bytes and has a large body to download."""

import os
import re
import resource
import socket
import subprocess

from measure import cpu_seconds, descendants, pinned, resident_kib
from process import Failure, Process, free_port, is_bound, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = "Hello, HTTP/3!\n"


class Fixture:
    """Certificate, key and files, in a directory."""

    def __init__(self, directory, mib):
        self.directory, self.bytes = directory, mib << 20
        root = os.path.join(directory, "examples", "root")
        os.makedirs(root)
        # Where quiche's example wants them.
        self.cert, self.key = (os.path.join(directory, "examples", name) for name in ("cert.crt", "cert.key"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key,
             "-out", self.cert],
            check=True, capture_output=True,
        )
        self.both = os.path.join(directory, "both.pem")
        with open(self.both, "w") as both:
            for part in (self.cert, self.key):
                with open(part) as file:
                    both.write(file.read())
        with open(os.path.join(root, "small"), "w") as file:
            file.write(SMALL)
        with open(os.path.join(root, "big"), "wb") as file:
            file.truncate(self.bytes)


class Server:
    """A running server; `with` ends it."""

    # In the head of a column.
    title = ""
    # The variable with the path of its program.
    variable = ""
    small, session = "/", None
    # It can be told how many workers to have.
    has_workers = True
    # It gives tickets, by which a client resumes a TLS session.
    resumes = True
    # Connections that it keeps while they are opened.
    most_idle = 1_000_000

    def __init__(self, tools, fixture, cores, workers=1):
        self.program, self.fixture, self.workers = tools[self.variable], fixture, workers
        self.cores = cores.server(workers)
        self.download, self.upload = f"/stream/{fixture.bytes}", "/upload"
        self.port = free_port("127.0.0.1")
        self.process = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        raise NotImplementedError

    def run(self, *command, env=None):
        self.process = Process(pinned([self.program, *command], self.cores), self.fixture.directory, "server", env)
        child = self.process.child
        wait_for(f"{self.title} listens", lambda: self.is_ready() or child.poll() is not None)
        if child.poll() is not None:
            self.process.wait(0)
            raise Failure(f"{self.title} ended")

    def is_ready(self):
        return is_bound(self.port)

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def pids(self):
        return descendants(self.process.child.pid)

    def cpu_seconds(self):
        return cpu_seconds(self.pids())

    def resident_kib(self):
        return resident_kib(self.pids())

    def stop(self):
        if self.process:
            self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @classmethod
    def version(cls, tools):
        """What the program says of its version."""
        return ""


def said(command, pattern):
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else ""


class Ours(Server):
    title, variable, session = "ours", "MIO_QUICHE_OURS", "/wt/echo"
    options = ()

    def start(self):
        self.download += "?checksum=off"
        self.upload += "?checksum=off"
        options = ["--listen", f"127.0.0.1:{self.port}", "--cert", self.fixture.cert, "--key", self.fixture.key]
        options += ["--no-qlog", "--allow-origin", "*", *self.options]
        # An older build may not know these options.
        options += ["--demo"] if said([self.program, "serve", "--help"], r"(--demo)") else []
        options += ["--workers", self.workers] if self.workers > 1 else []
        self.run("serve", *options, env={"RUST_LOG": "warn"})


class OursForClients(Ours):
    """One that oha need not wait for, which ends when its connections have timed out."""

    options = ("--idle-timeout", "5")


class Baseline(Ours):
    """Our server of another commit."""

    title, variable = "baseline", "MIO_QUICHE_BASELINE"


class Quiche(Server):
    """The example of the quiche crate, which knows no options: its port is 4433, and its paths are fixed."""

    title, variable, small, has_workers = "quiche's example", "MIO_QUICHE_HTTP3_SERVER", "/small", False
    # It drops them after 5 seconds.
    most_idle = 5000
    PORT = 4433

    def start(self):
        self.port, self.download, self.upload = self.PORT, "/big", None
        # Whoever has the TCP port may use the UDP port, as among the tests.
        self.lock = wait_for(f"port {self.PORT} is free", self.locked, 60)
        self.run(env={"RUST_LOG": "off"})

    def locked(self):
        lock = socket.socket()
        lock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            lock.bind(("127.0.0.1", self.PORT))
            lock.listen()
        except OSError:
            lock.close()
            return None
        if is_bound(self.PORT):
            lock.close()
            return None
        return lock

    def stop(self):
        super().stop()
        if lock := getattr(self, "lock", None):
            lock.close()


class Nginx(Server):
    title, variable = "nginx", "MIO_QUICHE_NGINX"

    def start(self):
        # It takes request bodies only to hand them on, or to write them to files.
        self.download, self.upload = "/big", None
        directory = self.fixture.directory
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{name}_temp_path {directory}/{name};" for name in names)
        workers = f"worker_processes {self.workers};" if self.workers > 1 else "master_process off;"
        reuse = " reuseport" if self.workers > 1 else ""
        config = (
            f"daemon off; {workers} pid {directory}/nginx.pid; error_log stderr crit; user root;\n"
            # Each stream counts as one, those of HTTP/3 itself, too.
            f"events {{ worker_connections 131072; }}\n"
            f"http {{ access_log off; {temporary} keepalive_requests 1000000000; quic_gso on;\n"
            f"server {{ listen 127.0.0.1:{self.port} quic{reuse};\n"
            f"ssl_certificate {self.fixture.cert}; ssl_certificate_key {self.fixture.key};\n"
            f'location = / {{ return 200 "Hello, HTTP/3!\\n"; }}\n'
            f"location = /big {{ root {directory}/examples/root; }} }} }}\n"
        )
        path = os.path.join(directory, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        self.run("-p", directory, "-e", "stderr", "-c", path)
        if self.workers > 1:
            wait_for("nginx's workers", lambda: len(self.pids()) > self.workers)

    @classmethod
    def version(cls, tools):
        return said([tools[cls.variable], "-v"], r"nginx/(\S+)")


class Haproxy(Server):
    title, variable = "haproxy", "MIO_QUICHE_HAPROXY"

    def start(self):
        # It answers by itself only what fits into a buffer of 16 KiB, and takes no bodies.
        self.download = self.upload = None
        # A connection has two descriptors.
        most = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100)
        config = (
            f"global\n  limited-quic\n  nbthread {self.workers}\n  maxconn {most}\n"
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n"
            f"frontend f\n  bind quic4@127.0.0.1:{self.port} ssl crt {self.fixture.both} alpn h3\n"
            '  http-request return status 200 content-type text/plain string "Hello, HTTP/3!\\n"\n'
        )
        path = os.path.join(self.fixture.directory, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(config)
        self.run("-db", "-f", path)

    @classmethod
    def version(cls, tools):
        return said([tools[cls.variable], "-v"], r"version (\S+)")


class Stack(Server):
    """A server of benches/servers."""

    variable, stack, package = "MIO_QUICHE_BENCH_SERVERS", "", ""

    def start(self):
        options = ["--stack", self.stack, "--listen", f"127.0.0.1:{self.port}", "--workers", self.workers]
        self.run(*options, "--cert", self.fixture.cert, "--key", self.fixture.key)

    @classmethod
    def version(cls, tools):
        with open(os.path.join(HERE, "..", "servers", "Cargo.lock")) as lock:
            return re.search(rf'^name = "{cls.package}"\nversion = "(.*)"$', lock.read(), re.MULTILINE)[1]


class Quinn(Stack):
    title, stack, package = "quinn + h3", "quinn", "quinn"


class TokioQuiche(Stack):
    title, stack, package = "tokio-quiche", "tokio-quiche", "tokio-quiche"


class S2nQuic(Stack):
    title, stack, package = "s2n-quic + h3", "s2n-quic", "s2n-quic"
    # Only with a feature that is called unstable.
    resumes = False


class Wtransport(Server):
    """The echo server of benches/wt."""

    title, variable, session, has_workers = "wtransport", "MIO_QUICHE_WT", "/", False

    def start(self):
        options = ["--listen", f"127.0.0.1:{self.port}", "--cert", self.fixture.cert, "--key", self.fixture.key]
        self.run("server", *options)


class Fanout(Server):
    """A server of benches/fanout, with a thread that publishes `rate` datagrams in a second."""

    variable = "MIO_QUICHE_FANOUT"

    def __init__(self, tools, fixture, cores, stack, rate):
        self.title, self.stack, self.rate = stack, stack, rate
        super().__init__(tools, fixture, cores)

    def start(self):
        options = ["--stack", self.stack, "--rate", self.rate, "--listen", f"127.0.0.1:{self.port}"]
        self.run("server", *options, "--cert", self.fixture.cert, "--key", self.fixture.key)


class BunServer(Server):
    """A server of benches/bun, which chooses its port."""

    variable, kind, has_workers = "MIO_QUICHE_BUN", "", False

    def start(self):
        script = os.path.join(os.path.dirname(HERE), "bun", "server.ts")
        self.run(script, self.kind, self.fixture.cert, self.fixture.key)

    def is_ready(self):
        port = re.match(r"listening on port (\d+)\n", self.process.text())
        if port:
            self.port = int(port[1])
        return port

    @classmethod
    def version(cls, tools):
        return said([tools[cls.variable], "--version"], r"(\S+)")


class BunPackage(BunServer):
    """The package of src/bun, on the library of MIO_QUICHE_LIBRARY."""

    title, kind, session = "ours in Bun", "mio-quiche", "/wt/echo"


class BunHttp3(BunServer):
    title, kind = "Bun.serve, HTTP/3", "http3"


class BunHttp1(BunServer):
    title, kind = "Bun.serve, HTTP/1.1", "http1"


HTTP = {
    "ours": Ours, "baseline": Baseline, "quiche": Quiche, "nginx": Nginx, "haproxy": Haproxy, "quinn": Quinn,
    "tokio-quiche": TokioQuiche, "s2n-quic": S2nQuic,
}
SESSIONS = {"ours": Ours, "baseline": Baseline, "wtransport": Wtransport}
BUN = {"ours": Ours, "bun": BunPackage, "bun-http3": BunHttp3, "bun-http1": BunHttp1}
