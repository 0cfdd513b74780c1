export { QuicheError } from "./errors.ts";
export { fetch } from "./fetch.ts";
export { serve, Server } from "./serve.ts";
export { ServerSession } from "./server_session.ts";
export { WebTransportError } from "./session.ts";
export { trailersOf, withTrailers } from "./trailers.ts";
export { WebTransport } from "./webtransport.ts";
