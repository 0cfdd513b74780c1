"""HTTP datagrams of requests, raw QUIC datagrams, and clients that have neither."""

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import Setting
from client import WEBTRANSPORT, Client


def two_flows(url):
    """Two requests at once; the datagrams of one never show up at the other."""
    client = Client(url)
    flows = [client.request("/h3dgram/echo", method=method, fin=False) for method in ("POST", "GET")]
    for n in range(20):
        for flow in flows:
            client.send_datagram(flow, f"{n} of {flow}".encode())
        for flow in flows:
            client.datagrams_of(flow, n + 1)
    # One flow goes on alone.
    client.send(flows[0], fin=True)
    bodies = [client.finished(flows[0])]
    client.send_datagram(flows[1], b"alone")
    # No bytes are a datagram too.
    client.send_datagram(flows[1], b"")
    client.datagrams_of(flows[1], 22)
    client.send(flows[1], fin=True)
    bodies.append(client.finished(flows[1]))
    found = {
        "flows": [client.datagrams_of(flow, 20) for flow in flows],
        "ids": flows,
        "statuses": [client.streams[flow].status for flow in flows],
        "bodies": bodies,
        "others": [owner for owner, _ in client.datagrams if owner not in flows],
    }
    client.close()
    return found


def beside_a_session(url):
    """A request's datagrams and a session's on the same connection."""
    client = Client(url)
    flow = client.request("/h3dgram/echo", method="POST", fin=False)
    session = client.session("/wt/echo")
    found = [[client.echo(flow, f"flow {n}"), client.echo(session, f"session {n}")] for n in range(10)]
    client.send(flow, fin=True)
    result = {"echoes": found, "body": client.finished(flow), "all": len(client.datagrams)}
    client.close()
    return result


def sizes(url):
    """From no byte to as many as fit into aioquic's packets of 1200 bytes."""
    client = Client(url)
    session = client.session("/wt/echo")
    lengths = [0, 1, 2, 63, 64, 1000, 1100, 1150]
    found = [len(client.echo(session, "x" * length)) for length in lengths]
    client.close()
    return {"sent": lengths, "came": found}


def no_such_flow(url):
    """Datagrams that belong to nothing are dropped, and nothing else happens."""
    client = Client(url)
    ended = client.session("/wt/echo")
    client.echo(ended, "alive")
    client.end_session(ended, 1, b"over")
    page = client.request("/")
    client.finished(page)
    session = client.session("/wt/echo")
    for owner in (400, ended, page):
        client.send_datagram(owner, b"for nobody")
    found = {"echo": client.echo(session, "for me"), "get": client.get("/")}
    client.settle()
    found["others"] = [owner for owner, _ in client.datagrams if owner not in (ended, session)]
    found["of_the_ended"] = client.datagrams_of(ended, 1)
    client.close()
    return found


def raw(url):
    """Raw datagrams of a client that sends no setting for HTTP datagrams."""
    client = Client(url, settings={})
    page = client.get("/")
    found = []
    # The second would be a datagram of stream 0, the third no HTTP datagram at all.
    for data in (b"raw", encode_uint_var(0) + b"zero", b"\xff", b"x" * 1100):
        client.quic.send_datagram_frame(data)
        count = len(found)
        client.until("a raw datagram", lambda: len(client.raw_datagrams) > count)
        found.append(client.raw_datagrams[-1].hex())
    result = {"get": page, "echoes": found, "setting": client.h3.sent_settings.get(Setting.H3_DATAGRAM)}
    client.close()
    return result


def none_at_all(url):
    """A client whose QUIC has no datagrams."""
    client = Client(url, settings={}, datagrams=None)
    flow = client.request("/h3dgram/echo", method="POST", fin=True)
    found = {"get": client.get("/"), "flow": client.finished(flow)}
    refused = client.connect("/wt/echo")
    found["connect"] = client.reset_code(refused)
    found["again"] = client.get("/")
    client.close()
    # One that says it had them (RFC 9297 section 2.1.1).
    client = Client(url, settings=WEBTRANSPORT, datagrams=None, ready=False)
    return found | {"closed": client.closed_with()}


CASES = {
    "two-flows": two_flows,
    "beside-a-session": beside_a_session,
    "datagram-sizes": sizes,
    "no-such-flow": no_such_flow,
    "raw-datagrams": raw,
    "no-datagrams": none_at_all,
}
