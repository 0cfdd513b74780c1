"""RFC 9114, 9204, 9218, 9220 and 9297: HTTP/3, QPACK, priorities, extended CONNECT and HTTP datagrams."""

from aioquic.h3.connection import encode_frame
from check import IGNORED, check, on_stream, outcome, streams
from peer import (
    CONTROL, DECODER, ENCODER, POST, SETTINGS, Peer, data, field, headers, request, request_section, reset_stream,
    stop_sending,
)

CANCEL_PUSH, SETTINGS_FRAME, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0x3, 0x4, 0x5, 0x7, 0xD
PRIORITY_UPDATE_REQUEST, PRIORITY_UPDATE_PUSH = 0xF0700, 0xF0701
TRAILERS = headers(b"\0\0" + field(b"foo", b"bar"))
UPLOAD = request(method=POST)
SERVERS_CONTROL = 3
# A further unidirectional stream, and the stream types.
FURTHER = 14
CONTROL_TYPE, PUSH_TYPE, ENCODER_TYPE, DECODER_TYPE = b"\0", b"\1", b"\2", b"\3"


def frame(kind, payload=b""):
    return encode_frame(kind, payload)


def on_request(*parts, fin=False):
    return streams((0, b"".join(parts), fin))


def on_control(*parts, fin=False):
    """Behind SETTINGS."""
    return streams((CONTROL, b"".join(parts), fin))


def settings(payload):
    """These instead of the usual SETTINGS."""
    return streams(settings=frame(SETTINGS_FRAME, payload))


def injected(frames, *before):
    """QUIC frames behind what is on the streams."""

    def run(url):
        peer = Peer(url)
        for write in before:
            peer.send(*write)
        peer.settle()
        peer.inject(frames)
        return outcome(peer)

    return run


MESSAGE_ERROR = on_stream("H3_MESSAGE_ERROR")

CHECKS = [
    # ---- request streams ----
    check(
        "RFC 9114 4.1", "DATA before HEADERS",
        on_request(data(b""), request(), fin=True), "H3_FRAME_UNEXPECTED", h3spec=True,
    ),
    check(
        "RFC 9114 4.1", "HEADERS behind trailers",
        on_request(UPLOAD, data(b"x"), TRAILERS, TRAILERS), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 4.1", "DATA behind trailers",
        on_request(UPLOAD, data(b"x"), TRAILERS, data(b"y")), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 4.3", "a pseudo-header field twice",
        on_request(request(further=b"\xd1"), fin=True), MESSAGE_ERROR, h3spec=True,
    ),
    check(
        "RFC 9114 4.3.1", "no :authority and no :path",
        on_request(headers(b"\0\0\xd1\xd7"), fin=True), MESSAGE_ERROR, h3spec=True,
    ),
    check(
        "RFC 9114 4.3", "an unknown pseudo-header field",
        on_request(request(further=field(b":foo", b"bar")), fin=True), MESSAGE_ERROR, h3spec=True,
    ),
    check(
        "RFC 9114 4.3", "a pseudo-header field behind other fields",
        on_request(headers(b"\0\0\xd1\xd7\x50\x09127.0.0.1" + field(b"foo", b"bar") + b"\xc1"), fin=True),
        MESSAGE_ERROR, h3spec=True,
    ),
    check(
        "RFC 9114 7.1", "the end of the stream within HEADERS",
        on_request(request()[:-4], fin=True), "H3_FRAME_ERROR", today=on_stream("H3_REQUEST_INCOMPLETE"),
    ),
    check(
        "RFC 9114 7.1", "the end of the stream within DATA",
        on_request(UPLOAD, b"\0\x10abc", fin=True), "H3_FRAME_ERROR", today="answered",
    ),
    check(
        "RFC 9114 7.2.3", "CANCEL_PUSH on a request stream",
        on_request(frame(CANCEL_PUSH), request(), fin=True), "H3_FRAME_UNEXPECTED", h3spec=True,
    ),
    check(
        "RFC 9114 7.2.4", "SETTINGS on a request stream",
        on_request(request(), frame(SETTINGS_FRAME)), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 7.2.5", "PUSH_PROMISE from a client",
        on_request(request(), frame(PUSH_PROMISE, b"\0" + request_section())), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 7.2.6", "GOAWAY on a request stream",
        on_request(request(), frame(GOAWAY, b"\0")), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 7.2.7", "MAX_PUSH_ID on a request stream",
        on_request(request(), frame(MAX_PUSH_ID, b"\0")), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9218 7.2", "PRIORITY_UPDATE on a request stream",
        on_request(request(), frame(PRIORITY_UPDATE_REQUEST, b"\0u=1")), "H3_FRAME_UNEXPECTED",
    ),
    check(
        "RFC 9114 7.2.8", "frame type 0x06 of HTTP/2 on a request stream",
        on_request(UPLOAD, frame(0x06), data(b"x"), fin=True), "H3_FRAME_UNEXPECTED", today="answered",
    ),
    check(
        "RFC 9114 7.2.8", "frame type 0x09 of HTTP/2 on a request stream",
        on_request(frame(0x09), request(), fin=True), "H3_FRAME_UNEXPECTED", today="answered",
    ),
    # ---- the control stream ----
    check(
        "RFC 9114 6.2.1", "MAX_PUSH_ID before SETTINGS",
        streams(settings=frame(MAX_PUSH_ID, b"\1") + SETTINGS), "H3_MISSING_SETTINGS", h3spec=True,
    ),
    check("RFC 9114 7.2.1", "DATA on the control stream", on_control(data(b"")), "H3_FRAME_UNEXPECTED", h3spec=True),
    check(
        "RFC 9114 7.2.2", "HEADERS on the control stream",
        on_control(headers(b"")), "H3_FRAME_UNEXPECTED", h3spec=True,
    ),
    check("RFC 9114 7.2.4", "SETTINGS twice", on_control(frame(SETTINGS_FRAME)), "H3_FRAME_UNEXPECTED", h3spec=True),
    check(
        "RFC 9114 7.2.8", "frame type 0x02 of HTTP/2 on the control stream",
        on_control(frame(0x02)), "H3_FRAME_UNEXPECTED", today=IGNORED,
    ),
    check(
        "RFC 9114 6.2.1", "the end of the control stream",
        on_control(fin=True), "H3_CLOSED_CRITICAL_STREAM", h3spec=True,
    ),
    check(
        "RFC 9114 6.2.1", "RESET_STREAM of the control stream",
        injected(reset_stream(CONTROL, final_size=1 + len(SETTINGS))), "H3_CLOSED_CRITICAL_STREAM",
    ),
    check(
        "RFC 9114 6.2.1", "STOP_SENDING of the server's control stream",
        injected(stop_sending(SERVERS_CONTROL)), "H3_CLOSED_CRITICAL_STREAM", today=IGNORED, may=True,
    ),
    check(
        "RFC 9114 6.2.1", "a second control stream",
        streams((FURTHER, CONTROL_TYPE + SETTINGS)), "H3_STREAM_CREATION_ERROR",
    ),
    check(
        "RFC 9114 6.2.2", "a push stream from a client",
        streams((FURTHER, PUSH_TYPE + b"\0")), "H3_STREAM_CREATION_ERROR",
    ),
    check("RFC 9114 7.1", "GOAWAY without an id", on_control(frame(GOAWAY)), "H3_FRAME_ERROR"),
    check(
        "RFC 9114 7.1", "MAX_PUSH_ID with a byte too many",
        on_control(frame(MAX_PUSH_ID, b"\1\1")), "H3_FRAME_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9114 5.2", "GOAWAY with an id that grows",
        on_control(frame(GOAWAY, b"\4"), frame(GOAWAY, b"\x08")), "H3_ID_ERROR",
    ),
    check(
        "RFC 9114 7.2.7", "MAX_PUSH_ID that shrinks",
        on_control(frame(MAX_PUSH_ID, b"\5"), frame(MAX_PUSH_ID, b"\1")), "H3_ID_ERROR",
    ),
    check(
        "RFC 9114 7.2.3", "CANCEL_PUSH over MAX_PUSH_ID",
        on_control(frame(CANCEL_PUSH, b"\5")), "H3_ID_ERROR", today=IGNORED,
    ),
    # ---- SETTINGS ----
    check(
        "RFC 9114 7.2.4.1", "settings of HTTP/2",
        settings(b"\x07\x40\x64\x02\x40\xc8\x01\x50\x00\x06\x80\x00\x80\x00"), "H3_SETTINGS_ERROR", h3spec=True,
    ),
    check("RFC 9114 7.1", "SETTINGS cut within a value", settings(b"\x06"), "H3_FRAME_ERROR", today="HTTP/3 0x999"),
    check(
        "RFC 9114 7.2.4", "a setting twice",
        settings(b"\x06\x10\x06\x10"), "H3_SETTINGS_ERROR", today=IGNORED, may=True,
    ),
    check("RFC 9220 3", "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", settings(b"\x08\x02"), "H3_SETTINGS_ERROR"),
    check("RFC 9297 2.1.1", "SETTINGS_H3_DATAGRAM of 2", settings(b"\x33\x02"), "H3_SETTINGS_ERROR"),
    check(
        "RFC 9297 2.1.1", "SETTINGS_H3_DATAGRAM without max_datagram_frame_size",
        streams(settings=frame(SETTINGS_FRAME, b"\x33\x01"), datagrams=None), "H3_SETTINGS_ERROR",
    ),
    # ---- priorities ----
    check("RFC 9114 7.1", "an empty PRIORITY_UPDATE", on_control(frame(PRIORITY_UPDATE_REQUEST)), "H3_FRAME_ERROR"),
    check(
        "RFC 9218 7.2", "PRIORITY_UPDATE of a push that was not promised",
        on_control(frame(PRIORITY_UPDATE_PUSH, b"\0u=1")), "H3_ID_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9218 7.2", "PRIORITY_UPDATE of a unidirectional stream",
        on_control(frame(PRIORITY_UPDATE_REQUEST, b"\2u=1")), "H3_ID_ERROR", today="H3_FRAME_UNEXPECTED",
    ),
    # ---- QPACK ----
    check(
        "RFC 9204 3.1", "an index that the static table does not have",
        on_request(headers(request_section(further=b"\xff\x24")), fin=True), "QPACK_DECOMPRESSION_FAILED", h3spec=True,
    ),
    check(
        "RFC 9204 2.2.1", "a Required Insert Count without a dynamic table",
        on_request(headers(b"\x02\x00\x80"), fin=True), "QPACK_DECOMPRESSION_FAILED",
    ),
    check(
        "RFC 9204 2.2", "a field line that is cut",
        on_request(headers(b"\x00\x00\x27"), fin=True), "QPACK_DECOMPRESSION_FAILED",
    ),
    check(
        "RFC 9204 4.2", "a second encoder stream",
        streams((ENCODER, ENCODER_TYPE), (FURTHER, ENCODER_TYPE)), "H3_STREAM_CREATION_ERROR",
    ),
    check(
        "RFC 9204 4.2", "a second decoder stream",
        streams((ENCODER, DECODER_TYPE), (FURTHER, DECODER_TYPE)), "H3_STREAM_CREATION_ERROR",
    ),
    check(
        "RFC 9204 4.2", "the end of the encoder stream",
        streams((ENCODER, ENCODER_TYPE, True)), "H3_CLOSED_CRITICAL_STREAM",
    ),
    check(
        "RFC 9204 4.2", "the end of the decoder stream",
        streams((DECODER, DECODER_TYPE, True)), "H3_CLOSED_CRITICAL_STREAM",
    ),
    check(
        "RFC 9204 4.2", "RESET_STREAM of the encoder stream",
        injected(reset_stream(ENCODER, final_size=1), (ENCODER, ENCODER_TYPE)), "H3_CLOSED_CRITICAL_STREAM",
    ),
    check(
        "RFC 9204 4.3.1", "a capacity over the limit",
        streams((ENCODER, ENCODER_TYPE + b"\x3f\xe1\xc7\xaf\xa0\x25")),
        "QPACK_ENCODER_STREAM_ERROR", today=IGNORED, h3spec=True,
    ),
    check(
        "RFC 9204 3.2.2", "an insertion into a table without room",
        streams((ENCODER, ENCODER_TYPE + b"\x41a\x01b")), "QPACK_ENCODER_STREAM_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9204 4.4.1", "Section Acknowledgment of nothing",
        streams((DECODER, DECODER_TYPE + b"\x80")), "QPACK_DECODER_STREAM_ERROR", today=IGNORED,
    ),
    check(
        "RFC 9204 4.4.3", "Insert Count Increment of 0",
        streams((DECODER, DECODER_TYPE + b"\0")), "QPACK_DECODER_STREAM_ERROR", today=IGNORED, h3spec=True,
    ),
]
