"""What losses do to the order of things, made without losing anything."""

from client import Client, data_frame


def fin_on_old_bytes(url):
    """The bytes of a stream come again, now with the FIN: what a client does that misses an acknowledgement.

    quiche 0.30 takes the FIN in but does not say that the stream is readable.
    """

    def upload(client):
        stream = client.request("/upload", method="POST", fin=False)
        client.send(stream, data_frame(b"body"))
        return stream

    def no_body(client):
        return client.request("/api/echo", method="POST", fin=False)

    def bidi(client):
        return client.bidi(client.session("/wt/echo"), b"bidi")

    def uni(client):
        return client.uni(client.session("/wt/echo"), b"uni")

    found = {}
    for name, begin in (("upload", upload), ("no body", no_body), ("bidi", bidi), ("uni", uni)):
        client = Client(url)
        stream = begin(client)
        client.flush()
        # Until the server has read it all and said so, which we do not take note of.
        client.withhold()
        sender = client.quic._streams[stream].sender
        sender._pending.add(0, sender._buffer_stop)
        client.send(stream, fin=True)
        client.flush()
        client.release()
        if name == "uni":
            found[name] = [client.streams[answer].text for answer in client.server_streams(0, 1, uni=True)]
        else:
            found[name] = client.finished(stream)
        client.close()
    return found


def datagram_in_a_probe(url):
    """A full congestion window, datagrams that wait for it, and then a probe (RFC 9002 section 6.2.4).

    quiche 0.30 marks what is to be probed with, the head of a session, sends a datagram instead, and does not forget
    the mark when the head is acknowledged: with nothing to send, it is first in line for ever.
    """
    found = []
    for _ in range(10):
        client = Client(url)
        session = client.session("/wt/echo")
        client.echo(session, "alive")
        client.settle()
        other = client.connect("/wt/echo")
        download = client.request("/stream/300000?checksum=off")
        client.flush()
        client.withhold()
        for _ in range(30):
            client.send_datagram(session, bytes(100))
        client.flush()
        # What fits into the rest of the window, and later the probe.
        client.withhold(patience=0.01)
        client.withhold()
        client.release()
        client.finished(download)
        found.append([client.status(other), len(client.streams[download].data), client.get("/")[0]])
        client.close()
    return found


CASES = {
    "fin-on-old-bytes": fin_on_old_bytes,
    "datagram-in-a-probe": datagram_in_a_probe,
}
