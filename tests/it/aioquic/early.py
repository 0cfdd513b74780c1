"""Requests in the first flight (0-RTT) of a connection that resumes a session."""

import pickle

from client import Client


def body_of(method):
    return b"" if method == "GET" else b"changes something"


def ask(client, method, path):
    body = body_of(method)
    stream = client.request(path, method=method, fin=not body)
    if body:
        client.h3.send_data(stream, body, end_stream=True)
    return stream


def answer(client, stream):
    text = client.finished(stream)
    return [client.streams[stream].status, text]


def keep_ticket(client, file):
    """Leaves the newest ticket for the next run."""
    client.until("a ticket", lambda: client.tickets)
    with open(file, "wb") as out:
        pickle.dump(client.tickets[-1], out)


def resume(url, file):
    """A connection of which nothing was sent yet."""
    with open(file, "rb") as kept:
        return Client(url, ticket=pickle.load(kept), ready=False)


def report(client, answers):
    completed = client.until("the handshake", lambda: client.handshake)
    return {"resumed": completed.session_resumed, "accepted": completed.early_data_accepted, "answers": answers}


def first(url, file):
    """Gets a ticket."""
    client = Client(url)
    answers = [client.get("/")]
    keep_ticket(client, file)
    client.close()
    return report(client, answers)


def twice(url, file, method, path):
    """The same request in the first flight and again when the handshake is complete."""
    client = resume(url, file)
    stream = ask(client, method, path)
    answers = [answer(client, stream)]
    client.until("the handshake", lambda: client.handshake)
    answers.append(answer(client, ask(client, method, path)))
    keep_ticket(client, file)
    client.close()
    return report(client, answers)


def session(url, file):
    """The same for a WebTransport session, which is of an unsafe method."""
    client = resume(url, file)
    statuses = [client.status(client.connect("/wt/echo"))]
    client.until("the handshake", lambda: client.handshake)
    again = client.connect("/wt/echo")
    statuses += [client.status(again), client.echo(again, "late")]
    client.close()
    return report(client, statuses)


CASES = {
    "first": first,
    "twice": twice,
    "session": session,
}
