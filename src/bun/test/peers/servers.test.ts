import assert from "node:assert/strict";
import { test } from "node:test";
import { fetch, WebTransport } from "../../lib/index.ts";
import { bytes, files, trust } from "../setup.ts";
import { Program, root, tool } from "./program.ts";
import { first, read, useEcho } from "./session.ts";

test("sessions with mio-quiche's command", async () => {
  const listen = ["serve", "--demo", "--listen", "127.0.0.1:0", "--cert", files.cert, "--key", files.key];
  await using server = new Program(tool("MIO_QUICHE"), listen);
  const origin = `https://${(await server.line()).replace("listening on ", "")}`;
  assert.equal(await (await fetch(origin, trust)).text(), "Hello, HTTP/3!\n");

  const transport = new WebTransport(`${origin}/wt/echo`, { ...trust, protocols: ["other", "echo-v1"] });
  await useEcho(transport);
  assert.equal(transport.protocol, "echo-v1");
  transport.close({ closeCode: 9, reason: "from Bun" });
  assert.deepEqual(await transport.closed, { closeCode: 9, reason: "from Bun" });

  const opened = new WebTransport(`${origin}/wt/echo?open=1`, trust);
  const { readable, writable } = await first(opened.incomingBidirectionalStreams);
  const writer = writable!.getWriter();
  await writer.write(bytes("and back"));
  await writer.close();
  assert.equal(await read(readable!), "server stream 0\nand back");
  opened.close();
  await opened.closed;

  const closed = new WebTransport(`${origin}/wt/close?code=4294967295&reason=enough`, trust);
  assert.deepEqual(await closed.closed, { closeCode: 4294967295, reason: "enough" });
  await assert.rejects(new WebTransport(`${origin}/wt/reject?status=429`, trust).ready, { source: "session" });

  const closes = await (await fetch(`${origin}/wt/closes`, trust)).json();
  assert.deepEqual(closes, [
    { path: "/wt/echo", by: "peer", code: 9, reason: "from Bun" },
    { path: "/wt/echo", by: "peer", code: 0, reason: "" },
    { path: "/wt/close", by: "us", code: 4294967295, reason: "enough" },
  ]);
});

test("sessions with aioquic", async () => {
  const script = `${root}tests/it/aioquic/server.py`;
  await using server = new Program(tool("MIO_QUICHE_PYTHON"), ["-B", script, files.cert, files.key]);
  const origin = `https://localhost:${await server.line()}`;
  assert.equal(await (await fetch(`${origin}/hello`, trust)).text(), "Hello from aioquic\n");

  const transport = new WebTransport(`${origin}/echo`, { ...trust, protocols: ["a", "b"] });
  await useEcho(transport);
  assert.equal(transport.protocol, "b");
  transport.close({ closeCode: 9, reason: "from Bun" });
  assert.deepEqual(await transport.closed, { closeCode: 9, reason: "from Bun" });
  assert.deepEqual(JSON.parse(await server.line()), { code: 9, reason: "from Bun" });

  const opened = new WebTransport(`${origin}/open`, trust);
  assert.equal(await read(await first(opened.incomingUnidirectionalStreams)), "one way\n");
  assert.equal(await read((await first(opened.incomingBidirectionalStreams)).readable!), "both ways\n");
  opened.close();
  await opened.closed;

  const closed = new WebTransport(`${origin}/close`, trust);
  assert.deepEqual(await closed.closed, { closeCode: 40, reason: "aioquic says bye" });
  await assert.rejects(new WebTransport(`${origin}/other`, trust).ready, { source: "session" });
});
