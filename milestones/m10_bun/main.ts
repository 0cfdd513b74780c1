// An HTTP/3 and WebTransport server in Bun, on the functions of include/mio_quiche.h and nothing else.
import { dlopen, FFIType, JSCallback } from "bun:ffi";
import { parseArgs } from "node:util";

const { i32, u32, u64, ptr } = FFIType;
const library = process.env.MIO_QUICHE_LIBRARY ?? "target/library-debug";
const { symbols: mq } = dlopen(`${library}/libmio_quiche.so`, {
  mq_server_new: { args: [ptr, u64, ptr, ptr], returns: i32 },
  mq_local_addr: { args: [u64, ptr, u64], returns: i32 },
  mq_last_error: { args: [ptr, u64], returns: i32 },
  mq_poll_into: { args: [u64, ptr, u64, ptr, u64, i32], returns: i32 },
  mq_respond: { args: [u64, u64, u32, ptr, u64, ptr, u64, u32], returns: i32 },
  mq_accept: { args: [u64, u64, ptr, u64], returns: i32 },
  mq_send_datagram: { args: [u64, u64, ptr, u64], returns: i32 },
  mq_shutdown: { args: [u64], returns: i32 },
  mq_stop: { args: [u64], returns: i32 },
});
const REQUEST = 3;
const SESSION_REQUEST = 4;
const DATAGRAM = 13;
const ENDED = 24;
const FLAG_END = 1;

/** Events of a batch, and the bytes of one. */
const BATCH = 256;
const EVENT = 64;
// The library fills these during a call, and keeps no pointer to them.
const events = new Uint8Array(BATCH * EVENT);
const payloads = new Uint8Array(256 * 1024);
const view = new DataView(events.buffer);
const handle = new BigUint64Array(1);

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** The text that a function copies to memory of ours. */
function copied(call: (room: Uint8Array) => number): string {
  const room = new Uint8Array(512);
  return text.decode(room.subarray(0, call(room)));
}

/** Fails with what the library has to say. */
function check(result: number): number {
  if (result >= 0) return result;
  throw new Error(`error ${result}: ${copied((room) => mq.mq_last_error(room, room.length))}`);
}

/** What happened so far; `most` is the most events that one wake-up stood for. */
const counts = { wakeups: 0, batches: 0, events: 0, most: 0 };

// The library calls this from its own thread; `threadsafe` lets it go on at once, and JavaScript run the function later.
const wake = new JSCallback(takeEvents, { args: [], returns: FFIType.void, threadsafe: true });

/** Takes all events: until then, there is no other wake-up. */
function takeEvents(): void {
  counts.wakeups++;
  let taken = 0;
  for (;;) {
    const count = mq.mq_poll_into(server, events, BATCH, payloads, payloads.length, 0);
    if (count <= 0) break;
    counts.batches++;
    counts.events += count;
    taken += count;
    counts.most = Math.max(counts.most, taken);
    for (let at = 0; at < count * EVENT; at += EVENT) onEvent(at);
  }
}

function onEvent(at: number): void {
  const id = view.getBigUint64(at + 8, true);
  const [len, offset] = [Number(view.getBigUint64(at + 40, true)), Number(view.getBigUint64(at + 48, true))];
  const payload = payloads.subarray(offset, offset + len);
  switch (view.getUint32(at, true)) {
    case REQUEST:
      respond(id, text.decode(payload).split("\0"));
      break;
    case SESSION_REQUEST:
      mq.mq_accept(server, id, null, 0);
      break;
    case DATAGRAM:
      mq.mq_send_datagram(server, id, payload, payload.length);
      break;
    case ENDED:
      mq.mq_stop(server);
      clearInterval(alive);
      console.log(`${counts.events} events in ${counts.batches} batches after ${counts.wakeups} wake-ups`);
  }
}

/** Responds to a request, whose fields are names and values in turn. */
function respond(id: bigint, fields: string[]): void {
  const path = fields[fields.indexOf(":path") + 1] ?? "/";
  const busy = /^\/busy\/(\d{1,5})$/.exec(path);
  if (busy) {
    console.log(`busy for ${busy[1]} ms`);
    for (const until = Date.now() + Number(busy[1]); Date.now() < until; );
  }
  const known = busy || ["/", "/counts"].includes(path);
  const said = path === "/counts" ? JSON.stringify(counts) : known ? "hello from Bun" : "not found";
  const body = utf8.encode(`${said}\n`);
  mq.mq_respond(server, id, known ? 200 : 404, null, 0, body, body.length, FLAG_END);
}

const { listen } = parseArgs({ options: { listen: { type: "string", default: "127.0.0.1:4433" } } }).values;
const pairs = { listen, thread: "on", cert_file: "certs/cert.pem", key_file: "certs/key.pem" };
const settings = utf8.encode(Object.entries(pairs).flat().map((part) => `${part}\0`).join(""));
check(mq.mq_server_new(settings, settings.length, wake.ptr, handle));
const server = handle[0]!;
console.log(`listening on ${copied((room) => mq.mq_local_addr(server, room, room.length))}`);

// A callback that may come does not keep the process alive.
const alive = setInterval(() => {}, 2 ** 31 - 1);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => mq.mq_shutdown(server));
