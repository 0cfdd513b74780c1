"""RFC 9000: frames, packets and connection ids."""

from aioquic.tls import Epoch
from check import IGNORED, SILENCE, at_handshake_keys, check, frames, resumed, retiring
from peer import crypto, new_connection_id, reset_stream, retire_connection_id, stop_sending, stream, varint

# Only the server can send on stream 3 (of HTTP/3, open) and on 101 (not open); only the client on 2.
SERVERS_UNI, SERVERS_BIDI, CLIENTS_UNI = 3, 101, 2

CHECKS = [
    check(
        "RFC 9000 4.1", "STREAM beyond the stream's limit",
        frames(stream(0, b"GET /\r\n", 100_000_000, True)), "FLOW_CONTROL_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 4.5", "RESET_STREAM with a final size beyond the limit",
        frames(reset_stream(40, final_size=1 << 40)), "FLOW_CONTROL_ERROR",
    ),
    check(
        "RFC 9000 4.6", "a bidirectional stream over the limit",
        frames(stream(1_000_000_000, b"GET /\r\n", fin=True)), "STREAM_LIMIT_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 4.6", "a unidirectional stream over the limit",
        frames(stream(400_002, b"x")), "STREAM_LIMIT_ERROR",
    ),
    check(
        "RFC 9000 4.5", "two different ends of a stream",
        frames(stream(40, b"abc", 0, True), stream(40, b"abcd", 0, True)), "FINAL_SIZE_ERROR",
    ),
    check(
        "RFC 9000 4.5", "data behind the end of a stream",
        frames(stream(40, b"abc", 0, True), stream(40, b"abcd", 100)), "FINAL_SIZE_ERROR",
    ),
    check(
        "RFC 9000 4.5", "RESET_STREAM with a final size below what came",
        frames(stream(40, b"abc", 0), reset_stream(40, final_size=1)), "FINAL_SIZE_ERROR",
    ),
    check(
        "RFC 9000 12.4", "an unknown frame type",
        frames(varint(0x20)), "FRAME_ENCODING_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 12.4", "a packet without frames",
        frames(b""), "PROTOCOL_VIOLATION", h3spec=True,
    ),
    check(
        "RFC 9000 12.4", "a frame type that is not in its shortest form",
        frames(b"\x40\x01"), "PROTOCOL_VIOLATION", today=IGNORED, may=True,
    ),
    check(
        "RFC 9000 12.4", "a frame cut by the end of the packet",
        frames(b"\x06\x00"), "FRAME_ENCODING_ERROR", "PROTOCOL_VIOLATION", today="PROTOCOL_VIOLATION",
    ),
    check(
        "RFC 9221 4", "DATAGRAM that is longer than the packet",
        frames(b"\x31" + varint(500) + b"abc"),
        "FRAME_ENCODING_ERROR", "PROTOCOL_VIOLATION", today="PROTOCOL_VIOLATION",
    ),
    check(
        "RFC 9000 17.2", "reserved bits set in a Handshake packet",
        at_handshake_keys(lambda peer: peer.socket.send(peer.long(Epoch.HANDSHAKE, b"\x01" + bytes(3), reserved=8))),
        "PROTOCOL_VIOLATION", today=IGNORED, h3spec=True,
    ),
    check(
        "RFC 9000 17.2.4", "PATH_CHALLENGE in a Handshake packet",
        at_handshake_keys(lambda peer: peer.socket.send(peer.long(Epoch.HANDSHAKE, b"\x1a01234567"))),
        "PROTOCOL_VIOLATION", h3spec=True,
    ),
    check(
        "RFC 9000 17.3.1", "reserved bits set in a 1-RTT packet",
        frames(b"\x01" + bytes(3), reserved=8), "PROTOCOL_VIOLATION", today=IGNORED, h3spec=True,
    ),
    check(
        "RFC 9000 12.5", "CRYPTO in a 0-RTT packet",
        resumed(lambda peer: peer.socket.send(peer.long(Epoch.ZERO_RTT, crypto(0, b"\x08\0\0\2\0\0")))),
        "PROTOCOL_VIOLATION", h3spec=True,
    ),
    check(
        "RFC 9000 19.4", "RESET_STREAM for a stream that only the server sends on",
        frames(reset_stream(SERVERS_UNI)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.5", "STOP_SENDING for a stream that the server has not opened",
        frames(stop_sending(SERVERS_BIDI)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.5", "STOP_SENDING for a stream that only the client sends on",
        frames(stop_sending(CLIENTS_UNI)), "STREAM_STATE_ERROR",
    ),
    check(
        "RFC 9000 19.7", "NEW_TOKEN from a client",
        frames(b"\x07\x05DUMMY"), "PROTOCOL_VIOLATION", h3spec=True,
    ),
    check(
        "RFC 9000 19.8", "STREAM for a stream that the server has not opened",
        frames(stream(1, b"", 0)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.8", "STREAM for a stream that only the server sends on",
        frames(stream(SERVERS_UNI, b"", 0)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.8", "STREAM with bytes beyond 2^62",
        frames(stream(0, b"abcde", 2**62 - 1)), "FRAME_ENCODING_ERROR", "FLOW_CONTROL_ERROR",
    ),
    check(
        "RFC 9000 19.10", "MAX_STREAM_DATA for a stream that the server has not opened",
        frames(b"\x11" + varint(SERVERS_BIDI) + varint(1_000_000)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.10", "MAX_STREAM_DATA for a stream that only the client sends on",
        frames(b"\x11" + varint(CLIENTS_UNI) + varint(1_000_000)), "STREAM_STATE_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.11", "MAX_STREAMS over 2^60",
        frames(b"\x12" + varint(2**60 + 1)), "FRAME_ENCODING_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.13", "STREAM_DATA_BLOCKED for a stream that only the server sends on",
        frames(b"\x15" + varint(SERVERS_UNI) + varint(0)), "STREAM_STATE_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9000 19.13", "STREAM_DATA_BLOCKED for a stream that the server has not opened",
        frames(b"\x15" + varint(SERVERS_BIDI) + varint(0)), "STREAM_STATE_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9000 19.14", "STREAMS_BLOCKED over 2^60",
        frames(b"\x16" + varint(2**60 + 1)), "FRAME_ENCODING_ERROR", "STREAM_LIMIT_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.15", "NEW_CONNECTION_ID whose Retire Prior To is over its sequence number",
        frames(new_connection_id(20, 30, bytes(8))), "FRAME_ENCODING_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.15", "NEW_CONNECTION_ID with an id of 0 bytes",
        frames(new_connection_id(20, 0, b"")), "FRAME_ENCODING_ERROR", h3spec=True,
    ),
    check(
        "RFC 9000 19.15", "NEW_CONNECTION_ID with an id of 21 bytes",
        frames(new_connection_id(20, 0, bytes(21))), "FRAME_ENCODING_ERROR",
    ),
    check(
        "RFC 9000 5.1.1", "more connection ids than active_connection_id_limit",
        frames(*(new_connection_id(20 + n, 0, bytes([n + 1] * 8)) for n in range(40))), "CONNECTION_ID_LIMIT_ERROR",
    ),
    check(
        "RFC 9000 19.15", "NEW_CONNECTION_ID: one id with two sequence numbers",
        frames(new_connection_id(20, 0, b"\7" * 8), new_connection_id(21, 0, b"\7" * 8)),
        "PROTOCOL_VIOLATION", today="FRAME_ENCODING_ERROR", may=True,
    ),
    check(
        "RFC 9000 19.16", "RETIRE_CONNECTION_ID of a sequence number that was never issued",
        frames(retire_connection_id(100)), "PROTOCOL_VIOLATION",
    ),
    check(
        "RFC 9000 19.16", "RETIRE_CONNECTION_ID of the id that the packet was sent to",
        retiring(0), "PROTOCOL_VIOLATION", today=SILENCE, may=True,
    ),
    check(
        "RFC 9000 19.18", "PATH_RESPONSE that nothing asked for",
        frames(b"\x1b01234567"), "PROTOCOL_VIOLATION", today=IGNORED, may=True,
    ),
    check(
        "RFC 9000 19.20", "HANDSHAKE_DONE from a client",
        frames(b"\x1e"), "PROTOCOL_VIOLATION", h3spec=True,
    ),
    check(
        "RFC 9000 13.1", "ACK of a packet that was never sent",
        frames(b"\x02" + varint(1 << 30) + varint(0) + varint(0) + varint(0)), "PROTOCOL_VIOLATION",
    ),
    check(
        "RFC 9000 19.3.1", "ACK of a negative packet number",
        frames(b"\x02" + varint(1) + varint(0) + varint(0) + varint(5)), "FRAME_ENCODING_ERROR",
    ),
    check(
        "RFC 9000 7.5", "CRYPTO far ahead of what came",
        frames(crypto(1 << 30, b"aaaaa")), "CRYPTO_BUFFER_EXCEEDED",
    ),
]
