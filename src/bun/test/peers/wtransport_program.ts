// `wtransport_program.ts ORIGIN CA`: uses sessions of wtransport's server, which is in tests/ffi/bun.rs.

import assert from "node:assert/strict";
import process from "node:process";
import { WebTransport } from "../../lib/index.ts";
import { bytes } from "../setup.ts";
import { first, read, useEcho } from "./session.ts";

const [, , origin, caFile] = process.argv as [string, string, string, string];

// All at once, as wtransport closes a connection with its session, which another one may just be about to use.
const [transport, opened, closed] = ["/echo", "/open", "/close"].map(
  (path) => new WebTransport(origin + path, { caFile }),
) as [WebTransport, WebTransport, WebTransport];
await Promise.all([transport.ready, opened.ready, closed.ready]);

await useEcho(transport);
transport.close({ closeCode: 9, reason: "from Bun" });
assert.deepEqual(await transport.closed, { closeCode: 9, reason: "from Bun" });

assert.equal(await read(await first(opened.incomingUnidirectionalStreams)), "one way\n");
assert.equal(await read((await first(opened.incomingBidirectionalStreams)).readable!), "both ways\n");
opened.close();
await opened.closed;

// It closes the connection instead of the session.
await closed.datagrams.writable.getWriter().write(bytes("close"));
const message = "the connection ended: closed by the peer with 0x1e (wtransport says bye)";
await assert.rejects(closed.closed, { source: "session", message });
console.log("all is right");
