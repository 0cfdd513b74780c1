"""What the server keeps, refuses and ends."""

import time

from aioquic.h3.connection import Setting
from client import DEADLINE, WEBTRANSPORT, Client, wire_code


def early_streams(url):
    """More streams than are kept for a session that does not exist yet: the oldest go."""
    client = Client(url)
    session = client.reserve()
    bidi, uni = [], []
    for n in range(10):
        bidi.append(client.bidi(session, f"bidi {n}".encode(), fin=True))
        uni.append(client.uni(session, f"uni {n}".encode(), fin=True))
        client.settle()
    client.session("/wt/echo", stream_id=session)
    kept = [client.finished(stream) for stream in bidi[2:]]
    answers = sorted(client.streams[answer].text for answer in client.server_streams(session, 8, uni=True))
    # All bytes have come and so nothing is left to be stopped.
    rejected = [client.reset_code(stream) for stream in bidi[:2]]
    found = {"bidi": kept, "uni": answers, "rejected": rejected, "get": client.get("/")}
    client.close()
    return found


def early_bidi(url):
    """Streams without a FIN, which have to be stopped as well as reset."""
    client = Client(url)
    session = client.reserve()
    streams = []
    for n in range(20):
        streams.append(client.bidi(session, f"{n} ".encode()))
        client.settle()
    rejected = [[client.reset_code(stream), client.stop_code(stream)] for stream in streams[:4]]
    client.session("/wt/echo", stream_id=session)
    for stream in streams[4:]:
        client.send(stream, b"goes on", fin=True)
    found = {"rejected": rejected, "kept": [client.finished(stream) for stream in streams[4:]]}
    client.close()
    return found


def early_uni(url):
    """Unidirectional streams without a FIN can only be stopped."""
    client = Client(url)
    session = client.reserve()
    streams = []
    for n in range(20):
        streams.append(client.uni(session, f"{n:02} ".encode()))
        client.settle()
    rejected = [client.stop_code(stream) for stream in streams[:4]]
    client.session("/wt/echo", stream_id=session)
    for stream in streams[4:]:
        client.send(stream, b"goes on", fin=True)
    kept = sorted(client.streams[answer].text for answer in client.server_streams(session, 16, uni=True))
    client.close()
    return {"rejected": rejected, "kept": kept}


def early_datagrams(url):
    """Of 40 early datagrams the last 32 are kept."""
    client = Client(url)
    session = client.reserve()
    for n in range(40):
        client.send_datagram(session, f"{n}".encode())
        client.settle()
    client.session("/wt/echo", stream_id=session)
    found = client.datagrams_of(session, 32)
    client.echo(session, "end")
    later = client.datagrams_of(session, 33)
    client.close()
    return {"kept": found, "all": len(later)}


def early_and_refused(url):
    """Early streams of a session that is refused have no session any more."""
    client = Client(url)
    session = client.reserve()
    stream = client.bidi(session, b"early")
    uni = client.uni(session, b"early")
    client.settle()
    client.connect("/wt/reject", stream_id=session)
    found = {
        "status": client.status(session),
        "bidi": [client.reset_code(stream), client.stop_code(stream)],
        "uni": client.stop_code(uni),
    }
    late = client.bidi(session, b"late")
    found["late"] = [client.reset_code(late), client.stop_code(late)]
    found["get"] = client.get("/")
    client.close()
    return found


def gone(url):
    """Streams of a session that has ended, open at its end or opened later."""
    client = Client(url)
    session = client.session("/wt/echo")
    other = client.session("/wt/echo")
    open_bidi = client.bidi(session, b"open")
    client.until("an echo", lambda: client.stream(open_bidi).text == "open")
    open_uni = client.uni(session, b"open")
    client.settle()
    client.end_session(session, 3, b"done")
    found = {"open": [client.reset_code(open_bidi), client.stop_code(open_bidi), client.stop_code(open_uni)]}
    bidi = client.bidi(session, b"late")
    uni = client.uni(session, b"late")
    found["late"] = [client.reset_code(bidi), client.stop_code(bidi), client.stop_code(uni)]
    stream = client.bidi(other, b"the other session", fin=True)
    found["other"] = [client.finished(stream), client.echo(other, "and its datagrams")]
    client.close()
    return found


def session_limit(url):
    """One session too many, from a client without flow control of sessions."""
    client = Client(url)
    sessions = [client.session("/wt/echo") for _ in range(16)]
    refused = [client.reset_code(client.connect("/wt/echo"))]
    client.end_session(sessions[0], 1, b"room")
    again = client.session("/wt/echo")
    refused.append(client.reset_code(client.connect("/wt/echo")))
    found = {
        "refused": refused,
        "echoes": [client.echo(session, f"from {session}") for session in [*sessions[1:], again]],
        "get": client.get("/"),
    }
    client.close()
    return found


def session_limit_with_flow_control(url):
    """The same from a client that has it and so could have known."""
    client = Client(url, settings=WEBTRANSPORT | {0x2B61: 1 << 20, 0x2B64: 100, 0x2B65: 100})
    asked = [client.connect("/wt/echo") for _ in range(17)]
    # All at once: the one too many need not be the last.
    statuses = {session: client.status(session) for session in asked}
    sessions = [session for session in asked if statuses[session] == 200]
    client.end_session(sessions[0], 1, b"room")
    found = {
        "statuses": sorted(statuses.values()),
        "again": client.status(client.connect("/wt/echo")),
        "full": client.status(client.connect("/wt/echo")),
        "echoes": [client.echo(session, f"from {n}") for n, session in enumerate(sessions[1:])],
        "get": client.get("/"),
    }
    client.close()
    return found


def requirements(url):
    """Clients whose settings lack something that WebTransport needs."""
    found = {}
    for name, settings in (
        ("no webtransport", {Setting.H3_DATAGRAM: 1}),
        ("no datagrams", {Setting.ENABLE_WEBTRANSPORT: 1}),
        ("neither", {}),
        ("both off", {Setting.H3_DATAGRAM: 0, Setting.ENABLE_WEBTRANSPORT: 0}),
    ):
        client = Client(url, settings=settings)
        session = client.connect("/wt/echo")
        if name == "no webtransport":
            # Later drafts ask no setting of clients.
            verdict = client.status(session)
        else:
            verdict = client.reset_code(session)
        found[name] = [verdict, client.get("/")]
        client.close()
    return found


def ended_and_stopped(url, count):
    """Streams whose header, bytes, FIN and STOP_SENDING come in one flight."""
    client = Client(url)
    session = client.session("/wt/echo")
    streams = []
    for n in range(int(count)):
        streams.append(client.bidi(session, b"12345", fin=True))
        client.quic.stop_stream(streams[-1], wire_code(7))
        if n % 20 == 19:
            client.settle()
    client.settle()
    refused = [stream for stream in streams if client.stream(stream).reset == 0x107]
    last = client.bidi(session, b"last", fin=True)
    client.until("an end", lambda: client.stream(last).fin or client.stream(last).reset is not None)
    found = {"refused": len(refused), "last": client.stream(last).text, "reset": client.stream(last).reset}
    client.close()
    return found


def reset_behind_header(url, count):
    """Streams that are reset in the packet behind the one with their header."""
    client = Client(url)
    session = client.session("/wt/echo")
    codes = {}
    for n in range(int(count)):
        for uni in (False, True):
            stream = client.uni(session) if uni else client.bidi(session)
            packets = client.quic.datagrams_to_send(now=time.monotonic())
            client.quic.reset_stream(stream, wire_code(n))
            packets += client.quic.datagrams_to_send(now=time.monotonic())
            for packet, _ in packets:
                client.socket.send(packet)
            if not uni:
                codes[stream] = wire_code(n)
        if n % 10 == 9:
            client.settle()

    def answered():
        return sum(client.stream(stream).reset == code for stream, code in codes.items())

    patience = time.monotonic() + DEADLINE / 2
    client.until("the resets", lambda: answered() == len(codes) or time.monotonic() > patience)
    found = {"packets": len(packets), "answered": answered()}
    client.close()
    return found


CASES = {
    "early-streams": early_streams,
    "early-bidi": early_bidi,
    "early-uni": early_uni,
    "early-datagrams": early_datagrams,
    "early-and-refused": early_and_refused,
    "gone": gone,
    "session-limit": session_limit,
    "session-limit-with-flow-control": session_limit_with_flow_control,
    "requirements": requirements,
    "ended-and-stopped": ended_and_stopped,
    "reset-behind-header": reset_behind_header,
}
