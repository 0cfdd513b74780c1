"""An HTTP/3 server on nothing but ctypes: python3 server.py libmio_quiche.so cert.pem key.pem"""
import ctypes as c
import sys

mq, u32, u64, size = c.CDLL(sys.argv[1]), c.c_uint32, c.c_uint64, c.c_size_t
mq.mq_respond.argtypes = [u64, u64, u32, c.c_char_p, size, c.c_char_p, size, u32]
names = ["id", "parent", "code", "data", "len", "offset", "reserved"]
Event = type("Event", (c.Structure,), {"_fields_": [("kind", u32), ("flags", u32), *((name, u64) for name in names)]})
settings = f"listen\x00127.0.0.1:0\0cert_file\0{sys.argv[2]}\0key_file\0{sys.argv[3]}\0".encode()
server, text, events, running = u64(), c.create_string_buffer(256), (Event * 64)(), True
if mq.mq_server_new(settings, size(len(settings)), None, c.byref(server)) < 0:
    length = mq.mq_last_error(text, size(256))
    sys.exit(text.raw[:length].decode())
length = mq.mq_local_addr(server, text, size(256))
print("listening on", text.raw[:length].decode(), flush=True)
while running:
    for event in events[:mq.mq_poll(server, events, size(64), -1)]:
        if event.kind == 3:  # MQ_EVENT_REQUEST
            parts = c.string_at(event.data, event.len).decode("latin-1").split("\0")
            path = dict(zip(parts[::2], parts[1::2]))[":path"]
            body = f"hello from Python: {path}\n".encode()
            mq.mq_respond(server, event.id, 200, None, 0, body, len(body), 1)
            if path == "/stop":
                mq.mq_shutdown(server)
        running = running and event.kind != 24  # MQ_EVENT_ENDED
sys.exit(mq.mq_stop(server))
