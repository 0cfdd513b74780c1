"""A client without an HTTP/3 of its own: it writes frames and packets that no decent client sends."""

import time

from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import FrameType, encode_frame
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicTransportParameters, push_quic_transport_parameters
from client import DEADLINE, Client, Failure

varint = encode_uint_var

# A client's streams of HTTP/3, and SETTINGS with HTTP datagrams and WebTransport (draft-02).
CONTROL, ENCODER, DECODER = 2, 6, 10
SETTINGS = encode_frame(FrameType.SETTINGS, varint(0x33) + varint(1) + varint(0x2B603742) + varint(1))

# Methods as indexes of QPACK's static table.
CONNECT, GET, POST = b"\xcf", b"\xd1", b"\xd4"


# ---- QUIC frames ----


def stream(stream_id, data=b"", offset=None, fin=False):
    kind = 0x0A | (0 if offset is None else 4) | (1 if fin else 0)
    where = b"" if offset is None else varint(offset)
    return bytes([kind]) + varint(stream_id) + where + varint(len(data)) + data


def reset_stream(stream_id, code=0x10C, final_size=0):
    return b"\x04" + varint(stream_id) + varint(code) + varint(final_size)


def stop_sending(stream_id, code=0x10C):
    return b"\x05" + varint(stream_id) + varint(code)


def crypto(offset, data):
    return b"\x06" + varint(offset) + varint(len(data)) + data


def max_data(limit):
    return b"\x10" + varint(limit)


def max_stream_data(stream_id, limit):
    return b"\x11" + varint(stream_id) + varint(limit)


def new_connection_id(sequence, retire_prior_to, cid):
    return b"\x18" + varint(sequence) + varint(retire_prior_to) + bytes([len(cid)]) + cid + bytes(16)


def retire_connection_id(sequence):
    return b"\x19" + varint(sequence)


def datagram(data):
    return b"\x31" + varint(len(data)) + data


# ---- HTTP/3 frames ----


def _prefixed(value, bits, flags=0):
    """An integer of QPACK (RFC 9204 section 4.1.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = bytes([flags | most]), value - most
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(name, value):
    """A field line with a literal name."""
    return _prefixed(len(name), 3, 0x20) + name + _prefixed(len(value), 7) + value


def request_section(path="/", method=GET, further=b""):
    target = b"\xc1" if path == "/" else b"\x51" + _prefixed(len(path), 7) + path.encode()
    return b"\0\0" + method + b"\xd7\x50\x09127.0.0.1" + target + further


def headers(section):
    return encode_frame(FrameType.HEADERS, section)


def data(payload):
    return encode_frame(FrameType.DATA, payload)


def request(path="/", method=GET, further=b""):
    return headers(request_section(path, method, further))


def session_request(path):
    """The CONNECT of a WebTransport session from the server's own origin."""
    fields = ((b":protocol", b"webtransport"), (b"origin", b"https://127.0.0.1"))
    return request(path, CONNECT, b"".join(field(*line) for line in fields))


# ---- connections ----


class Crafted(QuicConnection):
    """A connection whose handshake can be changed."""

    # Each takes what aioquic would send, and gives what is sent: a TransportParameters object that it changes, giving
    # bytes to append; encoded transport parameters; TLS extensions; bytes of a CRYPTO stream with their epoch.
    change_parameters = None
    change_extensions = None
    change_crypto = None
    closed_by_peer = False

    def _close_begin(self, is_initiator, now):
        self.closed_by_peer = not is_initiator
        super()._close_begin(is_initiator, now)

    def _serialize_transport_parameters(self):
        if self.change_parameters is None:
            return super()._serialize_transport_parameters()
        parameters = QuicTransportParameters(
            initial_max_data=1 << 20,
            initial_max_stream_data_bidi_local=1 << 20,
            initial_max_stream_data_bidi_remote=1 << 20,
            initial_max_stream_data_uni=1 << 20,
            initial_max_streams_bidi=128,
            initial_max_streams_uni=128,
            initial_source_connection_id=self._local_initial_source_connection_id,
            max_datagram_frame_size=self._configuration.max_datagram_frame_size,
        )
        appended = self.change_parameters(parameters) or b""
        buffer = Buffer(capacity=4096)
        push_quic_transport_parameters(buffer, parameters)
        return buffer.data + appended

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        if self.change_extensions is not None:
            self.tls.handshake_extensions = self.change_extensions(self.tls.handshake_extensions)

    def _push_crypto_data(self):
        if self.change_crypto is None:
            return super()._push_crypto_data()
        for epoch, buffer in self._crypto_buffers.items():
            self._crypto_streams[epoch].sender.write(self.change_crypto(epoch, buffer.data))
            buffer.seek(0)


class Peer(Client):
    """A connection whose streams, frames and packets are the test's own."""

    has_http3 = False

    def __init__(self, url, *, parameters=None, extensions=None, crypto=None, settings=SETTINGS, **arguments):
        self._changes = parameters, extensions, crypto
        super().__init__(url, **arguments)
        if settings and arguments.get("ready", True):
            self.send(CONTROL, b"\0" + settings)
        self.settings = settings

    def make_quic(self, configuration):
        quic = Crafted(configuration=configuration, session_ticket_handler=self.tickets.append)
        quic.change_parameters, quic.change_extensions, quic.change_crypto = self._changes
        return quic

    def is_ready(self):
        return self.quic._handshake_confirmed

    def handle(self, event):
        match event:
            case events.ProtocolNegotiated() | events.DatagramFrameReceived():
                pass
            case events.StreamDataReceived():
                self.stream(event.stream_id).data += event.data
                self.stream(event.stream_id).fin |= event.end_stream
            case _:
                super().handle(event)

    def close_frame(self):
        """What the server closed the connection with: whether the code is QUIC's, and the code."""
        if not self.quic.closed_by_peer:
            return None
        # The event itself only comes at the end of the draining period.
        close = self.quic._close_event
        return close.frame_type is not None, close.error_code

    # ---- packets ----

    def short(self, frames, reserved=0):
        """A 1-RTT packet."""
        quic = self.quic
        number = quic._packet_number
        quic._packet_number += 1
        keys = quic._cryptos[tls.Epoch.ONE_RTT]
        header = bytes([0x40 | reserved | keys.key_phase << 2 | 3]) + quic._peer_cid.cid + number.to_bytes(4, "big")
        return keys.encrypt_packet(header, frames, number)

    def long(self, epoch, frames, reserved=0):
        """An Initial, 0-RTT or Handshake packet."""
        quic = self.quic
        number = quic._packet_number
        quic._packet_number += 1
        kind = {tls.Epoch.INITIAL: 0, tls.Epoch.ZERO_RTT: 1, tls.Epoch.HANDSHAKE: 2}[epoch]
        keys = quic._cryptos_initial[quic._version] if kind == 0 else quic._cryptos[epoch]
        header = bytes([0xC0 | kind << 4 | reserved | 3]) + quic._version.to_bytes(4, "big")
        for cid in (quic._peer_cid.cid, quic._host_cids[0].cid):
            header += bytes([len(cid)]) + cid
        if kind == 0:
            header += varint(len(quic._peer_token)) + quic._peer_token
        # The number has 4 bytes, and the AEAD's tag 16.
        header += (0x4000 | 4 + len(frames) + 16).to_bytes(2, "big") + number.to_bytes(4, "big")
        return keys.encrypt_packet(header, frames, number)

    def inject(self, frames, **header):
        """Sends a packet of these frames."""
        self.socket.send(self.short(frames, **header))

    def until_handshake_keys(self):
        """Runs the handshake until just before the client's Finished."""
        self.flush()
        self.wait("handshake keys", lambda: self.quic._cryptos[tls.Epoch.HANDSHAKE].send.is_valid(), flush=False)

    def wait(self, what, check, flush=True):
        """As `until`, but a close is for `check` to see."""
        deadline = time.monotonic() + DEADLINE
        while not check():
            if time.monotonic() > deadline:
                raise Failure(f"not within {DEADLINE} s: {what}")
            if flush:
                self.flush()
            self.receive()
