"""A client that sends as fast as it can, within the limits that the server sets."""

import time

from check import HTTP3_CODES, name
from client import DEADLINE
from peer import CONTROL, SETTINGS, Peer, max_data, stream

# Attackers are elsewhere than the honest client, in an address prefix of their own.
ADDRESS = "127.66.0.1"
# Bytes of frames in a packet.
ROOM = 1100


WEBTRANSPORT_CODES = {0x3994BD84: "WT_BUFFERED_STREAM_REJECTED"}


def code(value):
    return (HTTP3_CODES | WEBTRANSPORT_CODES).get(value, f"{value:#x}")


class Flooder(Peer):
    """Its own streams are frames that it writes; what the server sends on them is counted and thrown away."""

    def __init__(self, url, *, acknowledges=True, settings=SETTINGS, **arguments):
        super().__init__(url, settings=None, local=ADDRESS, **arguments)
        self.acknowledges = acknowledges
        self.resets, self.stops, self.packets = {}, {}, 0
        self.next_uni = CONTROL + 4
        self.offsets, self.windows, self.total = {}, {}, 0
        # The first bytes of stream 0, for what waits for an answer there.
        self.answer = b""
        self._count_frames()
        if settings is not None:
            self.put(self.more(CONTROL, b"\0" + settings) + max_data(1 << 50))

    def _count_frames(self):
        handlers = self.quic._QuicConnection__frame_handlers

        def on_stream(_, kind, buffer):
            stream_id = buffer.pull_uint_var()
            if kind & 4:
                buffer.pull_uint_var()
            data = buffer.pull_bytes(buffer.pull_uint_var() if kind & 2 else buffer.capacity - buffer.tell())
            if stream_id == 0 and len(self.answer) < 1024:
                self.answer += data

        def on_reset(_, kind, buffer):
            _, value, _ = (buffer.pull_uint_var() for _ in range(3))
            self.resets[code(value)] = self.resets.get(code(value), 0) + 1

        def on_stop(_, kind, buffer):
            _, value = (buffer.pull_uint_var() for _ in range(2))
            self.stops[code(value)] = self.stops.get(code(value), 0) + 1

        def on_window(_, kind, buffer):
            stream_id, limit = (buffer.pull_uint_var() for _ in range(2))
            self.windows[stream_id] = max(limit, self.windows.get(stream_id, 0))

        def on_blocked(_, kind, buffer):
            buffer.pull_uint_var()
            buffer.pull_uint_var()

        mine = {0x04: on_reset, 0x05: on_stop, 0x11: on_window, 0x15: on_blocked}
        for kind, handler in (mine | dict.fromkeys(range(0x08, 0x10), on_stream)).items():
            handlers[kind] = (handler, handlers[kind][1])

    # ---- frames within the server's limits ----

    def more(self, stream_id, data, fin=False):
        """STREAM with the next bytes of a stream, or None if it has to wait for the server."""
        quic = self.quic
        initial = quic._remote_max_stream_data_uni if stream_id & 2 else quic._remote_max_stream_data_bidi_remote
        offset = self.offsets.get(stream_id, 0)
        if offset + len(data) > max(initial, self.windows.get(stream_id, 0)):
            return None
        if self.total + len(data) > quic._remote_max_data:
            return None
        self.offsets[stream_id] = offset + len(data)
        self.total += len(data)
        return stream(stream_id, data, offset, fin)

    def open(self, data, fin=False):
        """STREAM that opens a bidirectional stream, or None: its id is `opened`."""
        self.opened = self.next_bidi
        frame = self.more(self.opened, data, fin) if self.opened < 4 * self.quic._remote_max_streams_bidi else None
        self.next_bidi += 4 if frame else 0
        return frame

    def open_uni(self, data, fin=False):
        opened = self.next_uni
        frame = self.more(opened, data, fin) if opened < 4 * self.quic._remote_max_streams_uni else None
        self.next_uni += 4 if frame else 0
        return frame

    # ---- packets ----

    def put(self, frames):
        try:
            self.inject(frames)
        except ConnectionRefusedError:
            pass
        self.packets += 1

    def poll(self):
        """Takes what has come, without waiting; False once the connection has ended."""
        self.socket.settimeout(0)
        try:
            for _ in range(64):
                self.quic.receive_datagram(self.socket.recv(65536), self.peer, now=time.monotonic())
        except (BlockingIOError, ConnectionRefusedError):
            pass
        timer = self.quic.get_timer()
        if timer is not None and time.monotonic() >= timer:
            self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.handle(event)
        # Without a close of the server's, the idle timeout ends it.
        if self.quic._close_event is not None:
            return False
        if self.acknowledges:
            self.flush()
        return True

    def flood(self, make, until, burst=16, pause=0.0, enough=lambda: True, repeats=False):
        """Sends what make() gives, the frames of a packet, or None if there are none for now. With `repeats`, everything is
        sent again when there was no credit for a second: streams that the server has dropped do not end, and so give
        none back."""
        latest = until + DEADLINE
        sent, credit_at = [], time.monotonic()
        while time.monotonic() < until or not enough() and time.monotonic() < latest:
            for _ in range(burst):
                frames = make()
                if frames is None:
                    if repeats and time.monotonic() > credit_at + 1:
                        self.repeat(sent)
                        credit_at = time.monotonic()
                    time.sleep(0.001)
                    break
                credit_at = time.monotonic()
                if repeats:
                    sent.append(frames)
                self.put(frames)
            if not self.poll():
                break
            if pause:
                time.sleep(pause)
        return self.end()

    def repeat(self, packets):
        """Sends the frames of packets again, at a pace at which few are dropped."""
        for frames in packets:
            self.put(frames)
            time.sleep(0.001)
            if not self.poll():
                return

    def end(self):
        """Waits until the server has seen everything; what it has said meanwhile."""
        self.acknowledges = True
        self.pings += 1
        self.quic.send_ping(self.pings)
        deadline = time.monotonic() + DEADLINE
        while self.poll() and self.pings not in self.acknowledged and time.monotonic() < deadline:
            time.sleep(0.002)
        close = self.close_frame()
        found = {"close": None if close is None else name(close)}
        found |= {"reason": "" if close is None else self.quic._close_event.reason_phrase}
        found |= {"resets": self.resets, "stops": self.stops, "packets": self.packets}
        if close is None:
            self.close()
        return found


def packed(one, room=ROOM):
    """Frames of one() until a packet is full."""

    def make():
        frames = b""
        while len(frames) < room:
            frame = one()
            if frame is None:
                break
            frames += frame
        return frames or None

    return make


def flood(one, prepare=None, full=True, **arguments):
    """An attack of one connection: one(peer) gives a frame, or without `full` all frames of a packet."""

    def act(url, until):
        peer = Flooder(url, **arguments)
        if prepare is not None:
            prepare(peer)
        one_more = lambda: one(peer)
        return peer.flood(packed(one_more) if full else one_more, until)

    return act
