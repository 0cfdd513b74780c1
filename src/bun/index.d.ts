/** An error of the library. */
export class QuicheError extends Error {
  /** `ERR_MQ_` and a name of `include/mio_quiche.h`, such as `ERR_MQ_CONFIG`; `ERR_MQ_LIBRARY` if there is none. */
  readonly code: string;
}

/** A setting's value: a text, a number, or a switch. Times are in milliseconds, sizes in bytes. */
export type Setting = string | number | boolean;

/** Settings by the names that the manual of the C ABI lists, such as `idle_timeout`. Several values are an array. */
export type Settings = Record<string, Setting | readonly Setting[] | undefined>;

// ---- servers ----

/** The parts of a server that `Server.reload` can replace. */
export interface Handlers {
  /** Answers a request. Without it, every request is answered with 404. */
  fetch?: (request: Request, server: Server) => Response | Promise<Response>;
  /** Answers for a `fetch` that failed. By default, the error is written to the console and answered with 500. */
  error?: (error: unknown) => Response | Promise<Response>;
  /** Handlers of sessions by path; `*` is for all other paths. */
  webtransport?: Record<string, WebTransportHandlers>;
}

export interface ServeOptions extends Handlers {
  /** The UDP port; 0 lets the system choose. Default: 3000. */
  port?: number;
  /** The IP address to bind, or `localhost`. Default: `::`, which is all addresses of IPv4 and IPv6. */
  hostname?: string;
  /** The certificate chain: PEM text or a file's path. Several, with a key each, are arrays. */
  cert: string | string[];
  /** The private key, as `cert`. */
  key: string | string[];
  settings?: Settings;
}

/** Starts a server. Throws a `QuicheError` if that fails, or a `TypeError` with a `code` for wrong options. */
export function serve(options: ServeOptions): Server;

export class Server implements AsyncDisposable {
  private constructor();
  /** The UDP port. */
  readonly port: number;
  /** The IP address that it is bound to; of IPv6 in brackets. */
  readonly hostname: string;
  /** Where it can be reached from this machine. */
  readonly url: URL;
  /** Requests whose responses are not complete. */
  readonly pendingRequests: number;
  /** The address of the client that sent a request; null if it is not known (any more). */
  requestIP(request: Request): { address: string; family: "IPv4" | "IPv6"; port: number } | null;
  /** Keeps the process alive while the server runs; the default. */
  ref(): this;
  /** Lets the process end although the server runs. */
  unref(): this;
  /**
   * Stops gracefully: requests under way may end, for the setting `shutdown_timeout` at most. With
   * `closeActiveConnections`, stops at once. Resolves when it has stopped.
   */
  stop(closeActiveConnections?: boolean): Promise<void>;
  /**
   * Replaces the handlers that are given, at once, and reads the files of certificates again, for new connections.
   * Rejects if they cannot be used; the old ones then stay.
   */
  reload(handlers?: Handlers): Promise<void>;
  /** Counters by name. */
  stats(): Promise<Record<string, number>>;
  /** Metrics as text for Prometheus. */
  metrics(): Promise<string>;
  /** As `stop()`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What to do with a request for a session: whether to accept it, a response that rejects it, or how to accept it. */
export type Acceptance = boolean | void | Response | {
  /** One of the subprotocols that the client offers. */
  protocol?: string;
  /** Further fields of the response. */
  headers?: HeadersInit;
  /** The program's own, as `ServerSession.data`. */
  data?: unknown;
};

/** Handlers of sessions. One that throws or rejects ends its session with the reason "internal error". */
export interface WebTransportHandlers {
  /** Accepts or rejects a session. Without it, all are accepted. */
  accept?(request: Request, server: Server): Acceptance | Promise<Acceptance>;
  /** A session is open. */
  open?(session: ServerSession): void | Promise<void>;
  /** A datagram arrived. Without it, they are read from `session.datagrams`. */
  datagram?(session: ServerSession, data: Uint8Array): void | Promise<void>;
  /** The client opened a stream. Without it, they are read from the session's incoming streams. */
  stream?(session: ServerSession, stream: WebTransportStream): void | Promise<void>;
  /** A session has ended. */
  close?(session: ServerSession, info: Required<WebTransportCloseInfo>): void | Promise<void>;
}

/** A session of a server. */
export class ServerSession implements AsyncDisposable {
  private constructor();
  readonly id: number;
  /** The request that asked for it. */
  readonly request: Request;
  /** The subprotocol that was chosen; empty if none. */
  readonly protocol: string;
  data: unknown;
  readonly datagrams: WebTransportDatagrams;
  readonly incomingBidirectionalStreams: ReadableStream<WebTransportBidirectionalStream>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  /** Resolves at a close, and rejects if the connection ends without one. */
  readonly closed: Promise<Required<WebTransportCloseInfo>>;
  /** Resolves when the client asks to end the session soon. */
  readonly draining: Promise<void>;
  /** Sends a datagram. Returns false if it was dropped: too many wait, or the session has ended. */
  sendDatagram(data: Uint8Array | ArrayBuffer | string): boolean;
  createBidirectionalStream(): Promise<WebTransportBidirectionalStream>;
  createUnidirectionalStream(): Promise<WritableStream<Uint8Array>>;
  /** Asks the client to end the session soon. */
  drain(): void;
  close(info?: WebTransportCloseInfo): void;
  [Symbol.asyncDispose](): Promise<void>;
}

// ---- clients ----

/** What a client trusts. Clients with equal options share connections. */
export interface ClientOptions {
  /** A file of certificate authorities in PEM, in place of the system's. */
  caFile?: string;
  /** Accepts every certificate: for tests only. */
  insecure?: boolean;
  settings?: Settings;
}

/** As the web's `fetch`, over HTTP/3. Rejects with a `TypeError` that has a `code` if the request fails. */
export function fetch(input: string | URL | Request, init?: RequestInit & ClientOptions): Promise<Response>;

export interface WebTransportCloseInfo {
  /** 32 bits. Default: 0. */
  closeCode?: number;
  /** At most 1024 bytes of UTF-8. Default: empty. */
  reason?: string;
}

export interface WebTransportOptions extends ClientOptions {
  allowPooling?: boolean;
  requireUnreliable?: boolean;
  congestionControl?: "default" | "throughput" | "low-latency";
  /** Certificates to trust instead, by SHA-256; they must be valid for two weeks at most. */
  serverCertificateHashes?: { algorithm: string; value: BufferSource }[];
  /** Subprotocols to offer. */
  protocols?: string[];
  /** Further fields of the request. */
  headers?: HeadersInit;
}

/** A stream of a session. One of a server's handler is without `writable` if the client only sends. */
export interface WebTransportStream {
  readonly readable: ReadableStream<Uint8Array> | undefined;
  readonly writable: WritableStream<Uint8Array> | undefined;
}

/** A stream in both directions. */
export interface WebTransportBidirectionalStream extends WebTransportStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

export interface WebTransportDatagrams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  /** Bytes of the largest datagram that can be sent at the moment; 0 if it is not known. */
  readonly maxDatagramSize: number;
  /** Datagrams that wait to be read at most; the oldest are dropped beyond. Default: 1024. */
  incomingHighWaterMark: number;
}

export interface WebTransportStats {
  /** Bytes of the program, without what QUIC adds. */
  bytesSent: number;
  bytesReceived: number;
  streamsOpened: number;
  streamsReceived: number;
  datagrams: { sent: number; received: number; droppedIncoming: number; lostOutgoing: number };
}

/** A session of a client, as the W3C defines it. */
export class WebTransport implements AsyncDisposable {
  /** Throws a `SyntaxError` exception for a URL that is not one of https, or has a fragment. */
  constructor(url: string | URL, options?: WebTransportOptions);
  static readonly supportsReliableOnly: false;
  readonly ready: Promise<void>;
  readonly closed: Promise<Required<WebTransportCloseInfo>>;
  readonly draining: Promise<void>;
  readonly reliability: "pending" | "supports-unreliable";
  readonly congestionControl: "default" | "throughput" | "low-latency";
  readonly protocol: string;
  readonly responseHeaders: Headers;
  readonly datagrams: WebTransportDatagrams;
  readonly incomingBidirectionalStreams: ReadableStream<WebTransportBidirectionalStream>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  createBidirectionalStream(): Promise<WebTransportBidirectionalStream>;
  createUnidirectionalStream(): Promise<WritableStream<Uint8Array>>;
  getStats(): Promise<WebTransportStats>;
  close(info?: WebTransportCloseInfo): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An error of a session or a stream. As the reason of an abort or a cancel, its code is what the peer gets. */
export class WebTransportError extends DOMException {
  constructor(message?: string, options?: { source?: "stream" | "session"; streamErrorCode?: number | null });
  readonly source: "stream" | "session";
  readonly streamErrorCode: number | null;
}

// ---- trailer fields ----

/** Adds trailer fields to a message to send, or a function that says them behind its body. Returns the message. */
export function withTrailers<T extends Request | Response>(
  message: T,
  trailers: HeadersInit | (() => HeadersInit | Promise<HeadersInit>),
): T;

/** The trailer fields of a received message, which come behind its body: read that first. */
export function trailersOf(message: Request | Response): Promise<Headers>;
