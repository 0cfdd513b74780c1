import { serve } from "mio-quiche";

const server = serve({
  port: 4433,
  cert: "cert.pem",
  key: "key.pem",
  fetch: (request) => new Response(`hello from Bun: ${new URL(request.url).pathname}\n`),
  webtransport: { "/echo": { datagram: (session, data) => void session.sendDatagram(data) } },
});
console.log(`listening on ${server.url}`);
