import process from "node:process";
import { fetch, serve, WebTransport } from "../lib/index.ts";
import { files, trust } from "./setup.ts";

// Run by exit.test.ts: `stop`, `unref` and `alive` say what happens to the server.
const server = serve({
  port: 0,
  hostname: "127.0.0.1",
  ...files,
  fetch: (request) => {
    if (request.method === "POST") void server.stop();
    return new Response("x");
  },
  webtransport: { "/": {} },
});
await (await fetch(server.url, trust)).text();
const transport = new WebTransport(server.url, trust);
await transport.ready;
transport.close();
await transport.closed;
if (process.argv[2] === "stop") await server.stop();
if (process.argv[2] === "unref") server.unref();
console.log(server.url.href);
