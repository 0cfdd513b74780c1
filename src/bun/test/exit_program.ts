import process from "node:process";
import { fetch, type QuicheError, serve, WebTransport } from "../lib/index.ts";
import { files, trust } from "./setup.ts";

/** Run by exit.test.ts: `stop`, `unref` and `alive` say what happens to the server. */
async function main(mode: string | undefined): Promise<void> {
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
  if (mode === "stop") await server.stop();
  if (mode === "unref") server.unref();
  console.log(server.url.href);
}

main(process.argv[2]).catch((error: QuicheError) => {
  console.error(error.code, error.message);
  process.exitCode = 1;
});
