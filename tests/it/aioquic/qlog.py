"""A client on aioquic that writes a qlog file: `qlog.py PORT DIR PATH` gets the path from 127.0.0.1."""

import asyncio
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.logger import QuicFileLogger


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.done = asyncio.Event()

    def quic_event_received(self, event):
        for got in self.http.handle_event(event) if self.http else ():
            if getattr(got, "stream_ended", False):
                self.done.set()


async def main(port, directory, path):
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
        quic_logger=QuicFileLogger(directory),
    )
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        client.http = H3Connection(client._quic)
        fields = {":method": "GET", ":scheme": "https", ":authority": f"localhost:{port}", ":path": path}
        stream = client._quic.get_next_available_stream_id()
        client.http.send_headers(stream, [(n.encode(), v.encode()) for n, v in fields.items()], end_stream=True)
        client.transmit()
        await client.done.wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
