"""aioquic_client.py --directory DIR --case CASE [--session FILE] [--first] URL...: gets URLs on one connection."""

import argparse
import asyncio
import os
import pickle
import ssl
import urllib.parse

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.asyncio.client import connect
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import CipherSuite


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.status, self.body, self.ended = {}, {}, {}

    def quic_event_received(self, event):
        for found in self.http.handle_event(event):
            stream = getattr(found, "stream_id", None)
            if isinstance(found, HeadersReceived):
                self.status.setdefault(stream, dict(found.headers)[b":status"])
            elif isinstance(found, DataReceived):
                self.body[stream] += found.data
            if getattr(found, "stream_ended", False) and stream in self.ended:
                self.ended[stream].set()

    async def get(self, url, room):
        async with room:
            parts = urllib.parse.urlsplit(url)
            stream = self._quic.get_next_available_stream_id()
            self.body[stream], self.ended[stream] = bytearray(), asyncio.Event()
            fields = {":method": "GET", ":scheme": "https", ":authority": parts.netloc, ":path": parts.path}
            self.http.send_headers(stream, [(n.encode(), v.encode()) for n, v in fields.items()], end_stream=True)
            self.transmit()
            await self.ended[stream].wait()
            if self.status[stream] != b"200":
                raise SystemExit(f"{url}: status {self.status[stream]}")
            return bytes(self.body[stream])


async def main(arguments):
    configuration = QuicConfiguration(alpn_protocols=["h3"], server_name="localhost", verify_mode=ssl.CERT_NONE)
    if arguments.case == "chacha20":
        configuration.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    is_early = arguments.case == "zerortt" and not arguments.first
    if arguments.session and not arguments.first:
        with open(arguments.session, "rb") as file:
            configuration.session_ticket = pickle.load(file)
        if not is_early:
            configuration.session_ticket.max_early_data_size = None
    tickets = []
    parts = urllib.parse.urlsplit(arguments.urls[0])
    async with connect(
        parts.hostname, parts.port, configuration=configuration, create_protocol=Client,
        session_ticket_handler=tickets.append, wait_connected=not is_early,
    ) as client:
        if arguments.case == "keyupdate":
            while not client._quic._handshake_confirmed:
                await client.ping()
            # From here on, aioquic drops packets with the old keys.
            client._quic.request_key_update()
        room = asyncio.Semaphore(64)
        for url, body in zip(arguments.urls, await asyncio.gather(*(client.get(url, room) for url in arguments.urls))):
            with open(os.path.join(arguments.directory, url.rsplit("/", 1)[1]), "wb") as file:
                file.write(body)
        if arguments.session and not arguments.first and not client._quic.tls.session_resumed:
            raise SystemExit("the session was not resumed")
        while arguments.first and not tickets:
            await client.ping()
    if arguments.first:
        with open(arguments.session, "wb") as file:
            pickle.dump(tickets[-1], file)


parser = argparse.ArgumentParser()
parser.add_argument("--directory")
parser.add_argument("--case")
parser.add_argument("--session")
parser.add_argument("--first", action="store_true")
parser.add_argument("urls", nargs="+")
asyncio.run(main(parser.parse_args()))
