"""A WebTransport server on aioquic: `server.py CERT KEY` prints its port, then one line of JSON for each session's close.

/echo sends everything back: unidirectional streams on streams of its own, the rest as it came, and takes the last
subprotocol offered. /open opens a stream of each kind. /close closes at once. GET /hello is answered; everything else
is refused.
"""

import asyncio
import json
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.buffer import Buffer, BufferReadError, encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, DatagramReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

CLOSE_CAPSULE = 0x2843


def capsule(kind, value):
    return encode_uint_var(kind) + encode_uint_var(len(value)) + value


def say(what):
    print(json.dumps(what), flush=True)


class Session(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.capsules = bytearray()
        self.answers = {}
        self.ended = set()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic, enable_webtransport=True)
        for got in self.http.handle_event(event) if self.http else ():
            self.on_event(got)
        self.transmit()

    def on_event(self, event):
        if isinstance(event, HeadersReceived):
            self.on_request(event.stream_id, dict(event.headers))
        elif isinstance(event, DatagramReceived):
            self.http.send_datagram(event.stream_id, event.data)
        elif isinstance(event, WebTransportStreamDataReceived):
            self.on_stream(event)
        elif isinstance(event, DataReceived):
            self.on_capsules(event)

    def on_request(self, stream, headers):
        path = headers[b":path"]
        if headers[b":method"] == b"GET" and path == b"/hello":
            self.http.send_headers(stream, [(b":status", b"200")])
            self.http.send_data(stream, b"Hello from aioquic\n", end_stream=True)
            return
        if path == b"/silence":
            return
        if headers.get(b":protocol") != b"webtransport" or path not in (b"/echo", b"/open", b"/close"):
            self.http.send_headers(stream, [(b":status", b"403")], end_stream=True)
            self.ended.add(stream)
            return
        answer = [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
        if offered := headers.get(b"wt-available-protocols"):
            answer.append((b"wt-protocol", offered.split(b",")[-1].strip()))
        self.http.send_headers(stream, answer)
        if path == b"/open":
            for uni, text in ((True, b"one way\n"), (False, b"both ways\n")):
                opened = self.http.create_webtransport_stream(stream, is_unidirectional=uni)
                self._quic.send_stream_data(opened, text, end_stream=True)
        if path == b"/close":
            code = (40).to_bytes(4, "big")
            self.http.send_data(stream, capsule(CLOSE_CAPSULE, code + b"aioquic says bye"), end_stream=True)
            self.ended.add(stream)

    def on_stream(self, event):
        stream = event.stream_id
        if stream & 2:
            if stream not in self.answers:
                self.answers[stream] = self.http.create_webtransport_stream(event.session_id, is_unidirectional=True)
            stream = self.answers[stream]
        self._quic.send_stream_data(stream, event.data, end_stream=event.stream_ended)

    def on_capsules(self, event):
        self.capsules += event.data
        if not event.stream_ended:
            return
        buf = Buffer(data=bytes(self.capsules))
        try:
            while not buf.eof():
                kind, value = buf.pull_uint_var(), buf.pull_bytes(buf.pull_uint_var())
                if kind == CLOSE_CAPSULE:
                    say({"code": int.from_bytes(value[:4], "big"), "reason": value[4:].decode()})
        except BufferReadError:
            say({"error": "a truncated capsule"})
        if event.stream_id not in self.ended:
            self.http.send_data(event.stream_id, b"", end_stream=True)


async def main(cert, key):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536)
    configuration.load_cert_chain(cert, key)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Session)
    say(server._transport.get_extra_info("sockname")[1])
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
