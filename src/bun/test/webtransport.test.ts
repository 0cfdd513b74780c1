import assert from "node:assert/strict";
import { test } from "node:test";
import { WebTransport, WebTransportError } from "../lib/index.ts";
import type { WebTransportHandlers } from "../lib/server_session.ts";
import { all, bytes, hash, sha256, text, trust, withServer } from "./setup.ts";

const echo: WebTransportHandlers = {
  accept: (request) => (request.headers.get("wt-available-protocols")?.includes("two") ? { protocol: "two" } : true),
  datagram: (session, data) => void session.sendDatagram(data),
  stream: async (session, stream) => {
    if (stream.writable) await stream.readable!.pipeTo(stream.writable);
    else {
      const back = (await session.createUnidirectionalStream()).getWriter();
      await back.write(await all(stream.readable!));
      await back.close();
    }
  },
};

test("datagrams and streams of all kinds come back", async () => {
  await withServer({ webtransport: { "/echo": echo } }, async (origin) => {
    const transport = new WebTransport(`${origin}/echo`, trust);
    await transport.ready;
    assert.equal(transport.reliability, "supports-unreliable");
    assert.ok(transport.datagrams.maxDatagramSize > 1000);
    await transport.datagrams.writable.getWriter().write(bytes("ping"));
    const { value } = await transport.datagrams.readable.getReader().read();
    assert.equal(text(value!), "ping");

    const big = new Uint8Array(1024 * 1024).map((_, i) => (i * 7) % 253);
    const stream = await transport.createBidirectionalStream();
    const writer = stream.writable!.getWriter();
    const sent = writer.write(big).then(() => writer.close());
    assert.equal(sha256(await all(stream.readable!)), sha256(big));
    await sent;

    const one = (await transport.createUnidirectionalStream()).getWriter();
    await one.write(bytes("one way"));
    await one.close();
    const back = await transport.incomingUnidirectionalStreams.getReader().read();
    assert.equal(text(await all(back.value!)), "one way");

    const stats = await transport.getStats();
    assert.deepEqual([stats["bytesSent"], stats["bytesReceived"]], [big.length + 11, big.length + 11]);
    transport.close({ closeCode: 7, reason: "done" });
    assert.deepEqual(await transport.closed, { closeCode: 7, reason: "done" });
  });
});

test("a server closes with a code and a reason", async () => {
  const handlers: WebTransportHandlers = { datagram: (session) => session.close({ closeCode: 9, reason: "bye" }) };
  await withServer({ webtransport: { "/": handlers } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    await transport.datagrams.writable.getWriter().write(bytes("x"));
    assert.deepEqual(await transport.closed, { closeCode: 9, reason: "bye" });
  });
});

test("a server opens streams, drains and closes", async () => {
  let ended!: (info: object) => void;
  const end = new Promise((resolve) => (ended = resolve));
  const handlers: WebTransportHandlers = {
    open: async (session) => {
      const stream = await session.createBidirectionalStream();
      const writer = stream.writable!.getWriter();
      await writer.write(bytes("from the server"));
      await writer.close();
      assert.equal(text(await all(stream.readable!)), "from the client");
      session.drain();
      await session.closed;
    },
    close: (_, info) => ended(info),
  };
  await withServer({ webtransport: { "/": handlers } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    const { value: stream } = await transport.incomingBidirectionalStreams.getReader().read();
    assert.equal(text(await all(stream!.readable!)), "from the server");
    const writer = stream!.writable!.getWriter();
    await writer.write(bytes("from the client"));
    await writer.close();
    await transport.draining;
    transport.close({ closeCode: 42, reason: "over" });
    assert.deepEqual(await end, { closeCode: 42, reason: "over" });
  });
});

test("codes of a reset and a stop arrive", async () => {
  let reset!: (error: unknown) => void;
  const seen = new Promise<unknown>((resolve) => (reset = resolve));
  const handlers: WebTransportHandlers = {
    stream: async (_, stream) => {
      const reader = stream.readable!.getReader();
      await reader.read();
      await stream.writable!.abort(new WebTransportError("", { streamErrorCode: 5 }));
      await reader.read().catch(reset);
    },
  };
  await withServer({ webtransport: { "/": handlers } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    const stream = await transport.createBidirectionalStream();
    const writer = stream.writable!.getWriter();
    await writer.write(bytes("x"));
    await assert.rejects(all(stream.readable!), { streamErrorCode: 5 });
    await writer.abort(new WebTransportError("", { streamErrorCode: 99 }));
    assert.equal(((await seen) as WebTransportError).streamErrorCode, 99);
    transport.close();
    await transport.closed;
  });
});

test("a write that waits for the peer can be aborted", async () => {
  let reset!: (error: unknown) => void;
  const seen = new Promise<unknown>((resolve) => (reset = resolve));
  let release!: () => void;
  const released = new Promise<void>((resolve) => (release = resolve));
  const handlers: WebTransportHandlers = {
    stream: async (_, stream) => {
      await released;
      await all(stream.readable!).catch(reset);
    },
  };
  await withServer({ webtransport: { "/": handlers } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    const writer = (await transport.createUnidirectionalStream()).getWriter();
    const written = writer.write(new Uint8Array(32 * 1024 * 1024));
    written.catch(() => {});
    await writer.abort(new WebTransportError("", { streamErrorCode: 3 }));
    release();
    assert.equal(((await seen) as WebTransportError).streamErrorCode, 3);
    transport.close();
    await transport.closed;
  });
});

test("the hash of a certificate is enough, and a subprotocol is chosen", async () => {
  await withServer({ webtransport: { "/echo": echo } }, async (origin) => {
    const serverCertificateHashes = [{ algorithm: "sha-256", value: hash as BufferSource }];
    const transport = new WebTransport(`${origin}/echo`, { serverCertificateHashes, protocols: ["one", "two"] });
    await transport.ready;
    assert.equal(transport.protocol, "two");
    transport.close();
    const wrong = [{ algorithm: "sha-256", value: new Uint8Array(32) }];
    const other = new WebTransport(`${origin}/echo`, { serverCertificateHashes: wrong });
    await assert.rejects(other.ready, { source: "session" });
    await assert.rejects(other.closed, { source: "session" });
  });
});

test("a session that is closed before it is open is an error on both promises", async () => {
  let ended!: () => void;
  const end = new Promise<void>((resolve) => (ended = resolve));
  await withServer({ webtransport: { "/": { close: () => ended() } } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    transport.close();
    await assert.rejects(transport.ready, { source: "session" });
    await assert.rejects(transport.closed, { source: "session" });
    await end;
  });
});

test("a session is rejected by the handler and without one", async () => {
  await withServer({ webtransport: { "/no": { accept: () => false } } }, async (origin) => {
    for (const path of ["/no", "/nowhere"]) {
      await assert.rejects(new WebTransport(origin + path, trust).ready, { source: "session" });
    }
  });
});

test("a handler that throws ends its session, not the server", async () => {
  const handlers: WebTransportHandlers = {
    datagram: () => {
      throw new Error("expected by the test");
    },
  };
  await withServer({ webtransport: { "/": handlers, "/echo": echo } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    await transport.datagrams.writable.getWriter().write(bytes("x"));
    assert.deepEqual(await transport.closed, { closeCode: 0, reason: "internal error" });
    const other = new WebTransport(`${origin}/echo`, trust);
    await other.ready;
    other.close();
    await other.closed;
  });
});

test("bad arguments are errors", async () => {
  for (const url of ["nonsense", "http://localhost/", "https://localhost/#a"]) {
    assert.throws(() => new WebTransport(url), { name: "SyntaxError" });
  }
  const short = [{ algorithm: "sha-256", value: new Uint8Array(31) }];
  assert.throws(() => new WebTransport("https://localhost/", { serverCertificateHashes: short }), {
    code: "ERR_MQ_ARGUMENT",
  });
  assert.throws(() => new WebTransport("https://localhost/", { protocols: ["a", "a"] }), { name: "SyntaxError" });
  await withServer({ webtransport: { "/": {} } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    await transport.ready;
    assert.throws(() => transport.close({ closeCode: -1 }), { code: "ERR_MQ_ARGUMENT" });
    assert.throws(() => transport.close({ reason: "x".repeat(1025) }), { code: "ERR_MQ_ARGUMENT" });
    await assert.rejects(transport.datagrams.writable.getWriter().write(5 as never), { code: "ERR_MQ_ARGUMENT" });
    transport.close();
    await transport.closed;
    await assert.rejects(transport.createBidirectionalStream());
  });
});

test("a buffer that is detached is an error", async () => {
  await withServer({ webtransport: { "/": {} } }, async (origin) => {
    const transport = new WebTransport(origin, trust);
    await transport.ready;
    const detached = new Uint8Array(8);
    structuredClone(detached, { transfer: [detached.buffer] });
    await assert.rejects(transport.datagrams.writable.getWriter().write(detached), { code: "ERR_MQ_ARGUMENT" });
    transport.close();
    await transport.closed;
  });
});
