import { Buffer } from "node:buffer";
import { borrow, type ClientOptions } from "./client.ts";
import { bytesOf, encode, type EngineEvent } from "./engine.ts";
import { argumentError } from "./errors.ts";
import { decodeFields, encodeFields } from "./fields.ts";
import { type BidirectionalStream, type CloseInfo, type Datagrams, Session } from "./session.ts";

export interface Stats {
  bytesSent: number;
  bytesReceived: number;
  streamsOpened: number;
  streamsReceived: number;
  datagrams: { sent: number; received: number; droppedIncoming: number; lostOutgoing: number };
}

export interface WebTransportHash {
  algorithm: string;
  value: BufferSource;
}

export interface WebTransportOptions extends ClientOptions {
  allowPooling?: boolean;
  requireUnreliable?: boolean;
  congestionControl?: "default" | "throughput" | "low-latency";
  serverCertificateHashes?: WebTransportHash[];
  protocols?: string[];
  headers?: HeadersInit;
}

function parseUrl(url: unknown): URL {
  let parsed: URL;
  try {
    parsed = new URL(String(url));
  } catch {
    throw new DOMException(`${String(url)} is not a URL`, "SyntaxError");
  }
  if (parsed.protocol !== "https:") throw new DOMException("a session needs an https URL", "SyntaxError");
  if (parsed.hash !== "") throw new DOMException("the URL of a session must not have a fragment", "SyntaxError");
  return parsed;
}

/** A hash that no certificate has. */
const NO_HASH = "00".repeat(32);

function parseHashes(hashes: unknown): string[] {
  if (hashes === undefined) return [];
  if (!Array.isArray(hashes)) throw argumentError("serverCertificateHashes must be an array");
  // Other algorithms are ignored, as the W3C demands; if there are only such, no certificate is trusted.
  const known = (hashes as WebTransportHash[]).filter((hash) => String(hash?.algorithm).toLowerCase() === "sha-256");
  if (hashes.length > 0 && known.length === 0) return [NO_HASH];
  return known.map((hash) => {
    const value = bytesOf(hash.value, "the value of a hash");
    if (value.length !== 32) throw argumentError(`a SHA-256 hash has 32 bytes, not ${value.length}`);
    return Buffer.from(value).toString("hex");
  });
}

function parseProtocols(protocols: unknown): string[] {
  if (protocols === undefined) return [];
  if (!Array.isArray(protocols)) throw argumentError("protocols must be an array");
  for (const protocol of protocols) {
    if (typeof protocol !== "string" || !/^[\x20-\x7e]{1,512}$/.test(protocol)) {
      throw new DOMException("a protocol must have 1 to 512 characters of ASCII", "SyntaxError");
    }
  }
  if (new Set(protocols).size !== protocols.length) throw new DOMException("a protocol is given twice", "SyntaxError");
  return protocols;
}

/** A WebTransport session of a client (W3C WebTransport). */
export class WebTransport implements AsyncDisposable {
  static readonly supportsReliableOnly = false;
  readonly #session: Session;
  readonly #ready: Promise<void>;
  readonly #congestionControl: "default" | "throughput" | "low-latency";
  #protocol = "";
  #headers = new Headers();

  constructor(url: string | URL, options: WebTransportOptions = {}) {
    const parsed = parseUrl(url);
    if (typeof options !== "object" || options === null) throw argumentError("the options must be an object");
    const hashes = parseHashes(options.serverCertificateHashes);
    const protocols = parseProtocols(options.protocols);
    if (options.allowPooling && options.serverCertificateHashes) {
      throw new DOMException("hashes of certificates cannot be used with pooling", "NotSupportedError");
    }
    this.#congestionControl = options.congestionControl ?? "default";
    if (!["default", "throughput", "low-latency"].includes(this.#congestionControl)) {
      throw argumentError(`congestionControl cannot be ${String(this.#congestionControl)}`);
    }
    const fields = protocols.map((name): [string, string] => ["protocol", name]);
    for (const field of new Headers(options.headers)) {
      // Options of `mq_connect` that are no fields.
      if (!["timeout", "protocol"].includes(field[0])) fields.push(field);
    }
    const { engine, giveBack } = borrow(options, hashes);
    this.#session = new Session(engine);
    this.#session.hooks.opened = (event) => this.#onOpened(event);
    const target = encode(parsed.href);
    const section = encodeFields(fields);
    try {
      const { functions, handle } = engine;
      const id = engine.idOf((place) => {
        return functions.mq_connect(handle, target, target.length, section, section?.length ?? 0, place);
      });
      this.#session.begin(id, true);
    } catch (error) {
      giveBack();
      throw error;
    }
    this.#ready = this.#session.opened;
    this.#session.hooks.closed = giveBack;
  }

  #onOpened(event: EngineEvent): void {
    const fields = decodeFields(event.data).filter(([name]) => !name.startsWith(":"));
    this.#headers = new Headers(fields);
    const chosen = this.#headers.get("wt-protocol");
    this.#protocol = chosen ? chosen.replace(/^"(.*)"$/, "$1").replace(/\\(.)/g, "$1") : "";
  }

  get ready(): Promise<void> {
    return this.#ready;
  }

  get closed(): Promise<Required<CloseInfo>> {
    return this.#session.closed;
  }

  get draining(): Promise<void> {
    return this.#session.draining;
  }

  get reliability(): "pending" | "supports-unreliable" {
    return this.#session.state === "connecting" ? "pending" : "supports-unreliable";
  }

  get congestionControl(): "default" | "throughput" | "low-latency" {
    return this.#congestionControl;
  }

  /** The subprotocol that the server chose; empty if none. */
  get protocol(): string {
    return this.#protocol;
  }

  get responseHeaders(): Headers {
    return this.#headers;
  }

  get datagrams(): Datagrams {
    return this.#session.datagrams;
  }

  get incomingBidirectionalStreams(): ReadableStream<BidirectionalStream> {
    return this.#session.bidirectional.stream;
  }

  get incomingUnidirectionalStreams(): ReadableStream<ReadableStream<Uint8Array>> {
    return this.#session.unidirectional.stream;
  }

  createBidirectionalStream(): Promise<BidirectionalStream> {
    return this.#session.openBidirectional();
  }

  createUnidirectionalStream(): Promise<WritableStream<Uint8Array>> {
    return this.#session.openUnidirectional();
  }

  /** Counts of this session. Bytes are those of the program, without what QUIC adds. */
  async getStats(): Promise<Stats> {
    const { counts, streams, bytesOfEnded, dropped } = this.#session;
    let sent = counts.bytesSent + bytesOfEnded.sent;
    let received = counts.bytesReceived + bytesOfEnded.received;
    for (const stream of streams) {
      sent += stream.bytesSent;
      received += stream.bytesReceived;
    }
    return {
      bytesSent: sent,
      bytesReceived: received,
      streamsOpened: counts.streamsOpened,
      streamsReceived: counts.streamsReceived,
      datagrams: {
        sent: counts.datagramsSent,
        received: counts.datagramsReceived,
        droppedIncoming: dropped,
        lostOutgoing: counts.datagramsLost,
      },
    };
  }

  close(info: CloseInfo = {}): void {
    this.#session.close(info);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.closed.catch(() => {});
  }
}
