import assert from "node:assert/strict";
import { test } from "node:test";
import { fetch, serve, WebTransport } from "../lib/index.ts";
import { files, trust } from "./setup.ts";

test("servers start and stop with requests under way", async () => {
  for (let i = 0; i < 30; i++) {
    let arrived!: () => void;
    const arrival = new Promise<void>((resolve) => (arrived = resolve));
    const handler = (): Promise<Response> => {
      arrived();
      return new Promise(() => {});
    };
    const server = serve({ port: 0, hostname: "127.0.0.1", ...files, fetch: handler, webtransport: { "/": {} } });
    // Unlike a GET, it is not tried again on a new connection.
    const response = fetch(server.url, { method: "POST", body: "x", ...trust });
    response.catch(() => {});
    await arrival;
    const transport = new WebTransport(server.url, trust);
    await transport.ready;
    await server.stop(true);
    await assert.rejects(response, TypeError);
    await assert.rejects(transport.closed);
    // What has been stopped says so, and stopping again changes nothing.
    await server.stop();
    await assert.rejects(server.reload(), { code: "ERR_MQ_HANDLE" });
  }
});

test("await using stops a server", async () => {
  const server = serve({ port: 0, hostname: "127.0.0.1", ...files, fetch: () => new Response("x") });
  const { url } = server;
  await server[Symbol.asyncDispose]();
  await assert.rejects(fetch(url, { ...trust, settings: { connect_timeout: 500 } }), TypeError);
});
