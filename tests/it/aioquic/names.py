"""Certificates by the name that a client asks for."""

import hashlib

from cryptography.hazmat.primitives.serialization import Encoding

from client import Client


def visit(url, name, ticket=None):
    client = Client(url, server_name=name, ticket=ticket)
    completed = client.until("the handshake", lambda: client.handshake)
    client.get("/")
    client.until("a ticket", lambda: client.tickets)
    client.close()
    return client, completed.session_resumed


def names(url, *names):
    """The certificate for each name, and whether a second connection resumes the session of the first."""
    found = []
    for name in names:
        client, _ = visit(url, name)
        certificate = client.quic.tls._peer_certificate.public_bytes(Encoding.DER)
        _, resumed = visit(url, name, client.tickets[-1])
        found.append([hashlib.sha256(certificate).hexdigest(), resumed])
    return found


CASES = {"names": names}
