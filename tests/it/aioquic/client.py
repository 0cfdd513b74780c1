"""A small blocking HTTP/3 and WebTransport client on aioquic that can also send what no decent client would.

Packets move, and time passes, only within its calls, so a test decides which bytes share a packet.
"""

import socket
import ssl
import time
import urllib.parse
from dataclasses import dataclass, field

from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3 import events as h3_events
from aioquic.h3.connection import FrameType, H3Connection, Setting, encode_frame
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

# How long anything may take. Generous: the machine may be busy.
DEADLINE = 20.0

CLOSE_CAPSULE = 0x2843
BIDI_SIGNAL = 0x41
UNI_TYPE = 0x54

# What a client with WebTransport says.
WEBTRANSPORT = {Setting.H3_DATAGRAM: 1, Setting.ENABLE_WEBTRANSPORT: 1}


class Failure(Exception):
    """What a test waits for does not come."""


class Http3(H3Connection):
    """aioquic's HTTP/3 with further settings of our choice."""

    def __init__(self, quic, settings):
        self._further = settings
        super().__init__(quic)

    def _get_local_settings(self):
        return super()._get_local_settings() | self._further


@dataclass
class Stream:
    """What came on a stream."""

    headers: list = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    fin: bool = False
    reset: int | None = None
    stopped: int | None = None
    # The session that a stream of the server names.
    session: int | None = None

    @property
    def status(self):
        return int(dict(self.headers)[b":status"])

    @property
    def text(self):
        return self.data.decode(errors="backslashreplace")


def wire_code(code):
    """An application's error code as HTTP/3 carries it."""
    return 0x52E4A40FA8DB + code + code // 0x1E


def capsule(kind, value):
    return encode_uint_var(kind) + encode_uint_var(len(value)) + value


def close_capsule(code, reason):
    return capsule(CLOSE_CAPSULE, code.to_bytes(4, "big") + reason)


def data_frame(payload):
    return encode_frame(FrameType.DATA, payload)


class Client:
    """A connection with HTTP/3 on it."""

    def __init__(self, url, *, settings=WEBTRANSPORT, datagrams=65536, ready=True, silent=False):
        parts = urllib.parse.urlsplit(url)
        self.authority = parts.netloc
        self.peer = (parts.hostname, parts.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.connect(self.peer)
        configuration = QuicConfiguration(
            alpn_protocols=["h3"],
            max_data=16 << 20,
            max_datagram_frame_size=datagrams,
            max_stream_data=4 << 20,
            server_name="localhost",
            verify_mode=ssl.CERT_NONE,
        )
        self.quic = QuicConnection(configuration=configuration)
        self.streams = {}
        # Client streams that carry no HTTP/3, whose answers aioquic's HTTP/3 must not see.
        self.raw = set()
        self.datagrams = []
        self.raw_datagrams = []
        self.closed = None
        self.acknowledged = set()
        self.pings = 0
        self.withheld = []
        self.next_bidi = 0
        self.settings = settings
        self.silent = silent
        self.h3 = None
        self.quic.connect(self.peer, now=time.monotonic())
        if ready:
            self.until("the server's settings", lambda: self.h3 is not None and self.h3.received_settings is not None)

    # ---- packets, time, events ----

    def flush(self):
        """Sends what there is to send."""
        for packet, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.socket.send(packet)

    def until(self, what, check):
        """Runs the connection until `check` gives something, and returns that."""
        deadline = time.monotonic() + DEADLINE
        while True:
            self.flush()
            found = check()
            if found is not None and found is not False:
                return found
            if self.closed is not None:
                raise Failure(f"{what}: the connection was closed with {self.closed:#x}")
            if time.monotonic() > deadline:
                raise Failure(f"not within {DEADLINE} s: {what}; streams {self.streams}")
            self.receive()

    def receive(self):
        """Waits for packets for at most 20 ms, and runs timers."""
        timer = self.quic.get_timer()
        wait = 0.02 if timer is None else min(max(timer - time.monotonic(), 0.0005), 0.02)
        self.socket.settimeout(wait)
        try:
            for _ in range(64):
                self.quic.receive_datagram(self.socket.recv(65536), self.peer, now=time.monotonic())
                self.socket.settimeout(0)
        except (TimeoutError, BlockingIOError, ConnectionRefusedError):
            pass
        timer = self.quic.get_timer()
        if timer is not None and time.monotonic() >= timer:
            self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.handle(event)

    def withhold(self, patience=DEADLINE):
        """Takes packets off the socket until none comes for 10 ms and leaves them aside; waits so long for the first."""
        self.socket.settimeout(patience)
        try:
            while True:
                self.withheld.append(self.socket.recv(65536))
                self.socket.settimeout(0.01)
        except TimeoutError:
            pass

    def release(self):
        """Takes in what was withheld."""
        for packet in self.withheld:
            self.quic.receive_datagram(packet, self.peer, now=time.monotonic())
        self.withheld.clear()

    def stream(self, stream_id):
        return self.streams.setdefault(stream_id, Stream())

    def handle(self, event):
        match event:
            case events.ProtocolNegotiated():
                self.h3 = Http3(self.quic, self.settings)
                self.control_stream().is_blocked = self.silent
            case events.ConnectionTerminated():
                self.closed = event.error_code
            case events.PingAcknowledged():
                self.acknowledged.add(event.uid)
            case events.StreamReset():
                self.stream(event.stream_id).reset = event.error_code
            case events.StopSendingReceived():
                self.stream(event.stream_id).stopped = event.error_code
            case events.StreamDataReceived() if event.stream_id in self.raw:
                self.stream(event.stream_id).data += event.data
                self.stream(event.stream_id).fin |= event.end_stream
            case events.DatagramFrameReceived() if self.h3.sent_settings.get(Setting.H3_DATAGRAM) != 1:
                self.raw_datagrams.append(event.data)
            case _ if self.h3 is not None:
                for found in self.h3.handle_event(event):
                    self.handle_http(found)

    def handle_http(self, event):
        match event:
            case h3_events.HeadersReceived():
                self.stream(event.stream_id).headers += event.headers
                self.stream(event.stream_id).fin |= event.stream_ended
            case h3_events.DataReceived():
                self.stream(event.stream_id).data += event.data
                self.stream(event.stream_id).fin |= event.stream_ended
            case h3_events.WebTransportStreamDataReceived():
                self.stream(event.stream_id).session = event.session_id
                self.stream(event.stream_id).data += event.data
                self.stream(event.stream_id).fin |= event.stream_ended
            case h3_events.DatagramReceived():
                self.datagrams.append((event.stream_id, event.data))

    def settle(self):
        """Waits until the server has acknowledged what was sent before."""
        self.flush()
        self.pings += 1
        ping = self.pings
        self.quic.send_ping(ping)
        self.until("an acknowledgement", lambda: ping in self.acknowledged)

    def closed_with(self):
        """Waits until the server closes the connection; gives the code."""
        deadline = time.monotonic() + DEADLINE
        while self.closed is None:
            if time.monotonic() > deadline:
                raise Failure(f"the server does not close the connection; streams {self.streams}")
            self.flush()
            self.receive()
        return self.closed

    def close(self):
        self.quic.close(error_code=0x100)
        self.flush()

    def control_stream(self):
        return self.quic._streams[self.h3._local_control_stream_id]

    def send_settings(self):
        """Sends the settings of a client that was silent so far."""
        self.control_stream().is_blocked = False

    # ---- streams ----

    def reserve(self):
        """The id of the next bidirectional stream, on which nothing is sent yet."""
        stream_id = self.next_bidi
        self.next_bidi += 4
        # aioquic takes a lower id than one that it knows for that of a finished stream.
        self.quic._get_or_create_stream_for_send(stream_id)
        return stream_id

    def send(self, stream_id, data=b"", fin=False):
        self.quic.send_stream_data(stream_id, data, fin)

    def send_bytewise(self, stream_id, data, fin=False):
        """Sends a byte per packet, each once the server has the one before, and the FIN on its own."""
        for byte in data:
            self.send(stream_id, bytes([byte]))
            self.settle()
        if fin:
            self.send(stream_id, fin=True)

    def uni_id(self):
        return self.quic.get_next_available_stream_id(is_unidirectional=True)

    def bidi(self, session, data=b"", fin=False):
        """Opens a bidirectional stream of a session."""
        stream_id = self.reserve()
        self.raw.add(stream_id)
        self.send(stream_id, encode_uint_var(BIDI_SIGNAL) + encode_uint_var(session) + data, fin)
        return stream_id

    def uni(self, session, data=b"", fin=False):
        """Opens a unidirectional stream of a session."""
        stream_id = self.uni_id()
        self.send(stream_id, encode_uint_var(UNI_TYPE) + encode_uint_var(session) + data, fin)
        return stream_id

    def finished(self, stream_id):
        """Waits for the end of a stream and gives its bytes as text."""

        def done():
            stream = self.streams.get(stream_id)
            if stream is not None and stream.reset is not None:
                raise Failure(f"stream {stream_id} was reset with {stream.reset:#x}")
            return stream is not None and stream.fin

        self.until(f"the end of stream {stream_id}", done)
        return self.streams[stream_id].text

    def reset_code(self, stream_id):
        """Waits for a stream's reset and gives its code."""

        def reset():
            stream = self.streams.get(stream_id)
            if stream is not None and stream.fin:
                raise Failure(f"stream {stream_id} has ended: {stream}")
            return stream is not None and stream.reset

        return self.until(f"the reset of stream {stream_id}", reset)

    def stop_code(self, stream_id):
        """Waits until the server stops a stream and gives the code."""
        return self.until(
            f"STOP_SENDING of stream {stream_id}",
            lambda: self.streams.get(stream_id) is not None and self.streams[stream_id].stopped,
        )

    def server_streams(self, session, count, uni):
        """Waits for so many complete streams that the server opened in a session; gives their ids in order."""

        def found():
            mine = [
                stream_id
                for stream_id, stream in sorted(self.streams.items())
                if stream.session == session and stream_id % 4 == (3 if uni else 1) and (stream.fin or not uni)
            ]
            return mine if len(mine) >= count else None

        return self.until(f"{count} streams of the server", found)

    # ---- requests and sessions ----

    def request(self, path, *, method="GET", fin=True, stream_id=None, further=()):
        """Sends the head of a request; gives its stream."""
        stream_id = self.reserve() if stream_id is None else stream_id
        headers = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self.authority.encode()),
            (b":path", path.encode()),
        ]
        self.h3.send_headers(stream_id, headers + list(further), end_stream=fin)
        return stream_id

    def get(self, path):
        """A GET and its whole answer: status and body."""
        stream_id = self.request(path)
        text = self.finished(stream_id)
        return [self.streams[stream_id].status, text]

    def connect(self, path, *, stream_id=None, protocol="webtransport", origin="", further=()):
        """Sends the CONNECT of a session, of the same origin if none is given; gives its stream, the session's id."""
        fields = [(b":protocol", protocol.encode()), (b"sec-webtransport-http3-draft02", b"1"), *further]
        if origin is not None:
            fields.append((b"origin", (origin or f"https://{self.authority}").encode()))
        return self.request(path, method="CONNECT", fin=False, stream_id=stream_id, further=fields)

    def status(self, stream_id):
        """Waits for the head of an answer; gives its status."""

        def head():
            stream = self.streams.get(stream_id)
            if stream is not None and stream.reset is not None:
                raise Failure(f"stream {stream_id} was reset with {stream.reset:#x}")
            return stream is not None and bool(stream.headers)

        self.until(f"the answer on stream {stream_id}", head)
        return self.streams[stream_id].status

    def session(self, path, **arguments):
        """A session that the server has accepted."""
        session = self.connect(path, **arguments)
        status = self.status(session)
        if status != 200:
            raise Failure(f"{path}: status {status}")
        return session

    def send_datagram(self, stream_id, data):
        self.h3.send_datagram(stream_id, data)

    def datagrams_of(self, stream_id, count):
        """Waits for so many datagrams of a stream; gives all of them as text."""

        def mine():
            return [data.decode() for owner, data in self.datagrams if owner == stream_id]

        self.until(f"{count} datagrams of stream {stream_id}", lambda: len(mine()) >= count)
        return mine()

    def echo(self, session, text):
        """A datagram there and back, to see that a session works."""
        before = len([data for owner, data in self.datagrams if owner == session])
        self.send_datagram(session, text.encode())
        return self.datagrams_of(session, before + 1)[-1]

    def end_session(self, session, code=0, reason=b""):
        """Closes a session and waits until the server has ended it too."""
        self.send(session, data_frame(close_capsule(code, reason)), fin=True)
        self.finished(session)

    def capsules(self, stream_id):
        """The complete capsules that came on a stream."""
        found, buffer = [], Buffer(data=bytes(self.streams[stream_id].data))
        try:
            while not buffer.eof():
                kind = buffer.pull_uint_var()
                found.append((kind, buffer.pull_bytes(buffer.pull_uint_var())))
        except BufferReadError:
            pass
        return found

    def closed_session(self, session):
        """Waits until the server ends a session; gives code and reason of its capsule."""
        self.until(f"the end of session {session}", lambda: self.streams.get(session, Stream()).fin)
        closes = [value for kind, value in self.capsules(session) if kind == CLOSE_CAPSULE]
        return [[int.from_bytes(value[:4], "big"), value[4:].decode()] for value in closes]
