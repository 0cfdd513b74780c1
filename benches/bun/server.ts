// server.ts KIND CERT KEY: the servers of the table bun, on any port. KIND is mio-quiche, http3 or http1.
import process from "node:process";

const [kind, cert, key] = process.argv.slice(2) as [string, string, string];
const address = { hostname: "127.0.0.1", port: 0 };
const fetch = (): Response => new Response("Hello, HTTP/3!\n");
let port: number;

if (kind === "mio-quiche") {
  const { serve } = await import("../../src/bun/lib/index.ts");
  ({ port } = serve({
    ...address,
    cert,
    key,
    // wtransport names an origin of its own.
    settings: { allow_origin: "*" },
    fetch,
    webtransport: {
      "/wt/echo": {
        datagram: (session, data) => void session.sendDatagram(data),
        stream: (_, stream) => stream.readable!.pipeTo(stream.writable!),
      },
    },
  }));
} else {
  const server = Bun.serve({
    ...address,
    tls: { cert: Bun.file(cert), key: Bun.file(key) },
    fetch,
    ...(kind === "http3" ? { http3: true } : {}),
  });
  port = server.port!;
}
console.log(`listening on port ${port}`);
