"""RFC 9000 section 7.4 and RFC 9001: transport parameters and TLS."""

from aioquic.tls import Epoch
from check import IGNORED, appended_bytes, appended_parameters, check, frames, handshake, parameters
from peer import crypto

KEY_UPDATE = b"\x18\0\0\1\1"
END_OF_EARLY_DATA = b"\x05\0\0\0"
QUIC_TRANSPORT_PARAMETERS_OF_DRAFTS = 0xFFA5
PREFERRED_ADDRESS = bytes([127, 0, 0, 1, 0x01, 0xBB]) + bytes(18) + b"\x08" + bytes(8) + bytes(16)


def wrong(section, violation, run, **more):
    return check(section, violation, run, "TRANSPORT_PARAMETER_ERROR", **more)


def in_handshake(change):
    """A change of what the client says after its ClientHello."""
    return handshake(crypto=lambda epoch, data: change(data) if epoch == Epoch.HANDSHAKE and data else data)


CHECKS = [
    wrong(
        "RFC 9000 7.3", "no initial_source_connection_id",
        parameters(initial_source_connection_id=None), h3spec=True,
    ),
    wrong("RFC 9000 7.3", "another initial_source_connection_id", parameters(initial_source_connection_id=b"12345678")),
    wrong(
        "RFC 9000 18.2", "original_destination_connection_id from a client",
        parameters(original_destination_connection_id=b"DUMMY"), h3spec=True,
    ),
    wrong(
        "RFC 9000 18.2", "preferred_address from a client",
        appended_parameters((0x0D, PREFERRED_ADDRESS)), h3spec=True,
    ),
    wrong(
        "RFC 9000 18.2", "retry_source_connection_id from a client",
        parameters(retry_source_connection_id=b"DUMMY"), h3spec=True,
    ),
    wrong(
        "RFC 9000 18.2", "stateless_reset_token from a client",
        parameters(stateless_reset_token=b"DUMMYDUMMYDUMMYD"), h3spec=True,
    ),
    wrong("RFC 9000 18.2", "max_udp_payload_size below 1200", parameters(max_udp_payload_size=1199), h3spec=True),
    wrong("RFC 9000 18.2", "ack_delay_exponent over 20", parameters(ack_delay_exponent=21), h3spec=True),
    wrong("RFC 9000 18.2", "max_ack_delay of 2^14", parameters(max_ack_delay=1 << 14), h3spec=True),
    wrong("RFC 9000 18.2", "active_connection_id_limit below 2", parameters(active_connection_id_limit=1)),
    wrong("RFC 9000 18.2", "initial_max_streams_bidi over 2^60", parameters(initial_max_streams_bidi=2**60 + 1)),
    wrong("RFC 9000 7.4", "a transport parameter twice", appended_parameters((0x04, b"\x05"))),
    wrong("RFC 9000 18", "transport parameters that are cut", appended_bytes(b"\x04\x08\x01")),
    check(
        "RFC 9000 7.4", "max_idle_timeout with bytes behind its value",
        appended_parameters((0x01, b"\x01\x01\x01")), "TRANSPORT_PARAMETER_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9001 6", "TLS KeyUpdate in the handshake",
        in_handshake(lambda data: data + KEY_UPDATE), "unexpected_message", h3spec=True,
    ),
    check(
        "RFC 9001 6", "TLS KeyUpdate behind the handshake",
        frames(crypto(0, KEY_UPDATE)), "unexpected_message", h3spec=True,
    ),
    check(
        "RFC 9001 8.1", "no application protocol in common",
        handshake(alpn=("dummy",)), "no_application_protocol", h3spec=True,
    ),
    check(
        "RFC 9001 8.2", "no quic_transport_parameters",
        handshake(extensions=lambda _: []), "missing_extension", h3spec=True,
    ),
    check(
        "RFC 9001 8.2", "the quic_transport_parameters of drafts only",
        handshake(extensions=lambda found: [(QUIC_TRANSPORT_PARAMETERS_OF_DRAFTS, found[0][1])]),
        "missing_extension", h3spec=True,
    ),
    check(
        "RFC 9001 8.3", "TLS EndOfEarlyData",
        in_handshake(lambda data: END_OF_EARLY_DATA + data), "unexpected_message", h3spec=True,
    ),
]
