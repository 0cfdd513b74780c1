"""aioquic_wt.py CASE URL: one case of WebTransport against the demo's echo."""

import os
import sys
import urllib.parse

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "it", "aioquic"))

from client import Client

from wt import DATAGRAM, DATAGRAMS, SIZE, STREAMS


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found!r:.100}, not {wanted!r:.100}")


def texts(count, size):
    return [f"{n:04}".ljust(size, chr(97 + n % 26)) for n in range(count)]


def main(case, url):
    parts = urllib.parse.urlsplit(url)
    client = Client(f"https://{parts.netloc}")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    further = [(b"wt-available-protocols", b'"echo-v1"')] if case == "wt-handshake" else []
    session = client.session(path, further=further)
    match case:
        case "wt-handshake":
            expect("the subprotocol", dict(client.streams[session].headers).get(b"wt-protocol"), b'"echo-v1"')
        case "wt-transfer-unidirectional-send" | "wt-transfer-unidirectional-receive":
            wanted = texts(STREAMS, SIZE)
            for text in wanted:
                client.uni(session, text.encode(), fin=True)
            found = client.server_streams(session, STREAMS, uni=True)
            expect("streams", sorted(client.streams[stream].text for stream in found), wanted)
        case "wt-transfer-bidirectional-send":
            for text in texts(STREAMS, SIZE):
                expect("an echo", client.finished(client.bidi(session, text.encode(), fin=True)), text)
        case "wt-transfer-bidirectional-receive":
            found = client.server_streams(session, 10, uni=False)
            wanted = [f"server stream {n}\n" for n in range(10)]

            def came():
                return sorted(client.streams[stream].text for stream in found) == wanted

            client.until("the text of all streams", came)
        case _:
            wanted = [text for text in texts(DATAGRAMS, DATAGRAM)]
            for text in wanted:
                expect("an echo", client.echo(session, text), text)
    client.end_session(session)
    client.close()


main(*sys.argv[1:])
