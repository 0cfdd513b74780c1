"""An HTTP/3 server on aioquic, decent and otherwise: server.py CERT KEY [MODE]. Prints its port.

MODE is an application protocol to speak instead of h3, or:
goaway: every connection begins with GOAWAY
close: every connection is closed at once
tickets: sessions can be resumed, with early data
"""

import asyncio
import gzip
import hashlib
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import FrameType, H3Connection, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, ProtocolNegotiated

PIECE = bytes(n % 251 for n in range(251 * 4096))
CHUNK = len(PIECE)
# Bytes of a body that are put into aioquic before they are sent.
AHEAD = 4 * CHUNK
MODE = "".join(sys.argv[3:]) or "h3"
H3_NO_ERROR = 0x100
H3_INTERNAL_ERROR = 0x102
H3_REQUEST_REJECTED = 0x10B


class Server(QuicConnectionProtocol):
    """One connection."""

    connections = 0
    tickets = {}
    counts = {}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Server.connections += 1
        self.number = Server.connections
        self.http = None
        self.is_complete = False
        self.requests = {}
        self.bodies = []

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated) and event.alpn_protocol == "h3":
            self.http = H3Connection(self._quic)
            if MODE == "goaway":
                self.raw(self.http._local_control_stream_id, (FrameType.GOAWAY, encode_uint_var(0)))
            elif MODE == "close":
                self._quic.close(error_code=H3_NO_ERROR, reason_phrase="go away")
        if isinstance(event, HandshakeCompleted):
            self.is_complete = True
        if self.http is None:
            return
        for event in self.http.handle_event(event):
            if isinstance(event, HeadersReceived) and event.stream_id not in self.requests:
                self.requests[event.stream_id] = (dict(event.headers), hashlib.sha256(), [0])
            request = self.requests.get(event.stream_id)
            if isinstance(event, DataReceived):
                request[1].update(event.data)
                request[2][0] += len(event.data)
            if isinstance(event, (HeadersReceived, DataReceived)):
                self.on_request(event.stream_id, request, event.stream_ended)

    def transmit(self):
        self.fill()
        super().transmit()

    def fill(self):
        """Keeps bodies going that are too large for memory."""
        for body in self.bodies:
            stream, offset, length = body
            sender = self._quic._streams[stream].sender
            while offset < length and sender._buffer_stop - sender._buffer_start < AHEAD:
                piece = PIECE[: min(CHUNK, length - offset)]
                offset += len(piece)
                self.http.send_data(stream, piece, offset == length)
            body[1] = offset
        self.bodies = [body for body in self.bodies if body[1] < body[2]]

    def answer(self, stream, status, body=b"", *fields, end=True):
        self.http.send_headers(stream, [(b":status", str(status).encode()), *fields], end and not body)
        if body:
            self.http.send_data(stream, body, end)

    def raw(self, stream, *frames, end=False):
        data = b"".join(encode_frame(kind, payload) for kind, payload in frames)
        self._quic.send_stream_data(stream, data, end)

    def fields(self, stream, *fields):
        _, block = self.http._encoder.encode(stream, list(fields))
        return (FrameType.HEADERS, block)

    def literal(self, stream, *fields, end=True):
        """A head of literal fields (RFC 9204 section 4.5.6), byte for byte, as the encoder takes none so long."""

        def prefixed(flags, bits, number):
            limit = (1 << bits) - 1
            out = [flags | min(number, limit)]
            number -= limit
            while number >= 0:
                out.append(number & 0x7F | (0x80 if number >= 0x80 else 0))
                number = (number >> 7) or -1
            return bytes(out)

        pairs = [prefixed(0x20, 3, len(n)) + n + prefixed(0, 7, len(v)) + v for n, v in fields]
        self.raw(stream, (FrameType.HEADERS, b"\0\0" + b"".join(pairs)), end=end)

    def on_request(self, stream, request, ended):
        headers, digest, received = request
        path, _, argument = headers[b":path"].decode()[1:].partition("/")
        if path == "early":
            # The answer does not wait for the body.
            if not hasattr(self, "answered"):
                self.answered = True
                self.answer(stream, 413, b"too large\n")
                self._quic.stop_stream(stream, 0x100)
            return
        if path == "busy" and self.number == 1:
            # Rejected in the middle of the body.
            if received[0] > CHUNK // 2 and not hasattr(self, "rejected"):
                self.rejected = True
                self._quic.reset_stream(stream, H3_REQUEST_REJECTED)
                self._quic.stop_stream(stream, H3_REQUEST_REJECTED)
            return
        if not ended:
            return
        method = headers[b":method"]
        case = getattr(self, "do_" + path.replace("-", "_"), None)
        if case is not None:
            case(stream, argument)
        elif path == "" and method == b"HEAD":
            self.answer(stream, 200, b"", (b"content-length", b"15"))
        elif path == "":
            self.answer(stream, 200, b"Hello, aioquic!\n", (b"x-alive", b"yes"))
        elif path in ("upload", "busy"):
            self.answer(stream, 200, f"{method.decode()} {received[0]} {digest.hexdigest()}\n".encode())
        else:
            self.answer(stream, 404, b"nothing here\n")

    def do_bytes(self, stream, length):
        self.answer(stream, 200, b"", (b"content-length", length.encode()), end=False)
        self.bodies.append([stream, 0, int(length)])

    def do_endless(self, stream, _):
        self.answer(stream, 200, b"", end=False)
        self.bodies.append([stream, 0, 1 << 60])

    def do_connection(self, stream, _):
        self.answer(stream, 200, f"connection {self.number}\n".encode())

    def do_flight(self, stream, _):
        """Whether the request came before the handshake was complete, and what handshake it was."""
        method = self.requests[stream][0][b":method"].decode()
        when = "late" if self.is_complete else "early"
        handshake = "resumed" if self._quic.tls.session_resumed else "full"
        self.answer(stream, 200, b"" if method == "HEAD" else f"{method} {when} {handshake}\n".encode())

    def do_forget(self, stream, _):
        """Nothing of before can be resumed."""
        Server.tickets.clear()
        self.answer(stream, 200, b"forgotten\n")

    def do_fields(self, stream, _):
        """All fields of the request."""
        lines = [name + b": " + value + b"\n" for name, value in self.requests[stream][0].items()]
        self.answer(stream, 200, b"".join(lines))

    def do_redirect(self, stream, argument):
        """/redirect/STATUS/TARGET"""
        status, _, target = argument.partition("/")
        self.answer(stream, int(status), b"moved\n", (b"location", target.encode()))

    def do_unready(self, stream, argument):
        """/unready/COUNT/STATUS/RETRY-AFTER/...: this status for the first COUNT requests of each program."""
        count, status, after, *_ = argument.split("/")
        key = argument, self.requests[stream][0].get(b"user-agent")
        Server.counts[key] = Server.counts.get(key, 0) + 1
        if Server.counts[key] > int(count):
            self.answer(stream, 200, f"request {Server.counts[key]}\n".encode())
        else:
            self.answer(stream, int(status), b"not yet\n", *[(b"retry-after", after.encode())] * bool(after))

    def do_coded(self, stream, argument):
        """/coded/CODING/HEX: a body in a content coding."""
        coding, _, body = argument.partition("/")
        self.answer(stream, 200, bytes.fromhex(body), (b"content-encoding", coding.encode()))

    def do_zipped(self, stream, length):
        """/zipped/LENGTH: the bytes of /bytes in gzip."""
        body = gzip.compress((PIECE * (int(length) // CHUNK + 1))[: int(length)], 1)
        self.answer(stream, 200, body, (b"content-encoding", b"gzip"))

    def do_loop(self, stream, argument):
        self.answer(stream, 302, b"", (b"location", f"/loop/{int(argument) + 1}".encode()))

    def do_short(self, stream, _):
        self.answer(stream, 200, b"half", (b"content-length", b"8"))

    def do_long(self, stream, _):
        self.answer(stream, 200, b"too much", (b"content-length", b"4"))

    def do_no_status(self, stream, _):
        self.raw(stream, self.fields(stream, (b"x-field", b"1")), end=True)

    def do_informational(self, stream, count):
        early = self.fields(stream, (b":status", b"103"), (b"link", b"</a>"))
        self.raw(stream, *[early] * int(count))
        self.answer(stream, 200, b"at last\n")

    def do_many_fields(self, stream, count):
        self.answer(stream, 200, b"", *[(f"x-{n}".encode(), b"1") for n in range(int(count))])

    def do_long_fields(self, stream, argument):
        """/long-fields/COUNT/SIZE"""
        count, size = map(int, argument.split("/"))
        self.literal(stream, (b":status", b"200"), *[(f"x-{n}".encode(), b"a" * size) for n in range(count)])

    def do_extra(self, stream, argument):
        """/extra/NAME=HEX/NAME=HEX/...: a head with these fields."""
        pairs = [field.split("=") for field in argument.split("/")]
        self.literal(stream, (b":status", b"200"), *[(n.encode(), bytes.fromhex(v)) for n, v in pairs])

    def do_extra_trailers(self, stream, argument):
        name, _, value = argument.partition("=")
        self.answer(stream, 200, b"body", end=False)
        self.literal(stream, (name.encode(), bytes.fromhex(value)))

    def do_content(self, stream, status):
        """Content, whatever the method and the status."""
        self.answer(stream, int(status), b"xyz", (b"content-length", b"3"))

    def do_switch(self, stream, _):
        self.raw(stream, self.fields(stream, (b":status", b"101")))
        self.answer(stream, 200, b"xyz")

    def do_upper_case(self, stream, _):
        self.raw(stream, self.fields(stream, (b":status", b"200"), (b"X-Field", b"1")), end=True)

    def do_data_first(self, stream, _):
        self.raw(stream, (FrameType.DATA, b"x"), end=True)

    def do_nothing(self, stream, _):
        self._quic.send_stream_data(stream, b"", True)

    def do_reset(self, stream, _):
        self.answer(stream, 200, b"some", end=False)
        self._quic.reset_stream(stream, H3_INTERNAL_ERROR)

    def do_rejected(self, stream, _):
        """Rejected on the first connection."""
        if self.number == 1:
            self._quic.reset_stream(stream, H3_REQUEST_REJECTED)
        else:
            self.do_connection(stream, "")

    def do_half_rejected(self, stream, _):
        """On the first connection rejected behind the head and the first bytes of an answer."""
        if self.number > 1:
            self.do_connection(stream, "")
            return
        self.answer(stream, 200, b"abc", end=False)
        self.transmit()

        def reject():
            self._quic.reset_stream(stream, H3_REQUEST_REJECTED)
            self.transmit()

        # The client has the bytes by then.
        self._loop.call_later(0.1, reject)

    def do_goaway(self, stream, _):
        """GOAWAY on the first connection, with a request under way that is not processed."""
        if self.number == 1:
            self.raw(self.http._local_control_stream_id, (FrameType.GOAWAY, encode_uint_var(stream)))
        else:
            self.do_connection(stream, "")

    def do_goaways(self, stream, _):
        """GOAWAY on every connection."""
        self.raw(self.http._local_control_stream_id, (FrameType.GOAWAY, encode_uint_var(stream)))

    def do_close(self, stream, code):
        self.answer(stream, 200, b"some", end=False)
        self._quic.close(error_code=int(code), reason_phrase="as asked")

    def do_silence(self, stream, _):
        pass


async def main():
    alpn = ["h3"] if MODE in ("h3", "goaway", "close", "tickets") else [MODE]
    configuration = QuicConfiguration(is_client=False, alpn_protocols=alpn, max_data=1 << 24, max_stream_data=1 << 23)
    configuration.load_cert_chain(sys.argv[1], sys.argv[2])
    store = {
        "session_ticket_fetcher": lambda label: Server.tickets.pop(label, None),
        "session_ticket_handler": lambda ticket: Server.tickets.update({ticket.ticket: ticket}),
    }
    store = store if MODE == "tickets" else {}
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Server, **store)
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
