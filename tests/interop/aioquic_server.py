"""aioquic_server.py HOST PORT CERT KEY ROOT CASE: serves the files of a directory."""

import asyncio
import os
import sys

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from aioquic.tls import CipherSuite

host, port, cert, key, root, case = sys.argv[1:]
tickets = {}


class Server(QuicConnectionProtocol):
    http = None
    is_updated = False

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        for found in self.http.handle_event(event) if self.http else ():
            if isinstance(found, HeadersReceived):
                self.answer(found.stream_id, dict(found.headers)[b":path"].decode())

    def answer(self, stream, path):
        if case == "keyupdate" and not self.is_updated and self._quic._handshake_confirmed:
            self.is_updated = True
            self._quic.request_key_update()
        try:
            with open(os.path.join(root, os.path.basename(path)), "rb") as file:
                body, status = file.read(), b"200"
        except OSError:
            body, status = b"not found\n", b"404"
        self.http.send_headers(stream, [(b":status", status), (b"content-length", str(len(body)).encode())])
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()


async def main():
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(cert, key)
    if case == "chacha20":
        configuration.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    await serve(
        host, int(port), configuration=configuration, create_protocol=Server, retry=case == "retry",
        session_ticket_fetcher=lambda label: tickets.pop(label, None),
        session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
    )
    await asyncio.Future()


asyncio.run(main())
