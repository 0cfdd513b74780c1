import type { Engine } from "./engine.ts";
import { argumentError } from "./errors.ts";
import { encodeFields } from "./fields.ts";
import type { Server } from "./serve.ts";
import { type BidirectionalStream, type CloseInfo, type Datagrams, Session, type SessionStream } from "./session.ts";

interface Accepted {
  protocol?: string;
  headers?: HeadersInit;
  data?: unknown;
}

/** What `accept` says of a request for a session. */
export type Acceptance = boolean | void | Response | Accepted;

type Done = void | Promise<void>;

export interface WebTransportHandlers {
  accept?(request: Request, server: Server): Acceptance | Promise<Acceptance>;
  open?(session: ServerSession): Done;
  datagram?(session: ServerSession, data: Uint8Array): Done;
  stream?(session: ServerSession, stream: SessionStream): Done;
  close?(session: ServerSession, info: Required<CloseInfo>): Done;
}

/** A session of a server. */
export class ServerSession implements AsyncDisposable {
  readonly request: Request;
  /** The subprotocol that `accept` chose; empty if none. */
  readonly protocol: string;
  /** What `accept` gave as `data`. */
  data: unknown;
  readonly #session: Session;

  constructor(session: Session, request: Request, protocol: string, data: unknown) {
    this.#session = session;
    this.request = request;
    this.protocol = protocol;
    this.data = data;
  }

  get id(): number {
    return this.#session.id;
  }

  /** Datagrams, if there is no handler `datagram`. */
  get datagrams(): Datagrams {
    return this.#session.datagrams;
  }

  /** Bidirectional streams of the client, if there is no handler `stream`. */
  get incomingBidirectionalStreams(): ReadableStream<BidirectionalStream> {
    return this.#session.bidirectional.stream;
  }

  /** Unidirectional streams of the client, if there is no handler `stream`. */
  get incomingUnidirectionalStreams(): ReadableStream<ReadableStream<Uint8Array>> {
    return this.#session.unidirectional.stream;
  }

  get closed(): Promise<Required<CloseInfo>> {
    return this.#session.closed;
  }

  get draining(): Promise<void> {
    return this.#session.draining;
  }

  /** Sends a datagram. Returns false if it was dropped because too many wait, or the session has ended. */
  sendDatagram(data: Uint8Array | ArrayBuffer | string): boolean {
    return this.#session.sendDatagram(data);
  }

  createBidirectionalStream(): Promise<BidirectionalStream> {
    return this.#session.openBidirectional();
  }

  createUnidirectionalStream(): Promise<WritableStream<Uint8Array>> {
    return this.#session.openUnidirectional();
  }

  /** Asks the client to end the session soon. */
  drain(): void {
    this.#session.drain();
  }

  close(info?: CloseInfo): void {
    this.#session.close(info);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.closed.catch(() => {});
  }
}

/** Errors of handlers end the session, not the server. */
function guard(session: Session, call: () => Done): void {
  const failed = (error: unknown): void => {
    console.error(error);
    if (session.state === "open") session.close({ closeCode: 0, reason: "internal error" });
  };
  try {
    Promise.resolve(call()).catch(failed);
  } catch (error) {
    failed(error);
  }
}

function reject(engine: Engine, id: number, response: Response): void {
  const status = response.status >= 400 ? response.status : 403;
  const headers = new Headers(response.headers);
  headers.set("content-length", "0");
  const fields = encodeFields(headers);
  engine.functions.mq_respond(engine.handle, id, status, fields, fields!.length, null, 0, 1);
}

/** The fields of the response that accepts a session. */
function acceptedFields({ protocol, headers }: Accepted): Uint8Array | null {
  const fields = new Headers(headers);
  if (protocol !== undefined && protocol !== "") {
    if (typeof protocol !== "string" || !/^[\x20-\x7e]+$/.test(protocol)) {
      throw argumentError("the protocol of a session must have characters of ASCII");
    }
    // A string of structured fields (RFC 9651, section 3.3.3).
    fields.set("wt-protocol", `"${protocol.replace(/["\\]/g, "\\$&")}"`);
  }
  return encodeFields(fields);
}

/** Asks the program about a request for a session, and accepts or rejects it. */
export async function answerSession(
  engine: Engine,
  id: number,
  request: Request,
  handlers: WebTransportHandlers,
  server: Server,
): Promise<void> {
  const session = new Session(engine);
  session.begin(id, false);
  let accepted: Acceptance;
  let fields: Uint8Array | null = null;
  try {
    accepted = handlers.accept ? await handlers.accept(request, server) : true;
    if (accepted === undefined) accepted = true;
    if (typeof accepted !== "boolean" && (typeof accepted !== "object" || accepted === null)) {
      throw argumentError("accept must return a boolean, a Response, an object or nothing");
    }
    if (typeof accepted === "object" && !(accepted instanceof Response)) fields = acceptedFields(accepted);
  } catch (error) {
    console.error(error);
    accepted = new Response(null, { status: 500 });
  }
  if (session.state === "closed") return;
  if (accepted === false) accepted = new Response(null, { status: 403 });
  if (accepted instanceof Response) {
    reject(engine, id, accepted);
    session.fail(new Error("rejected"));
    return;
  }
  const { protocol = "", data } = accepted === true ? {} : (accepted as Accepted);
  const facade = new ServerSession(session, request, protocol, data);
  const { datagram, stream, close } = handlers;
  if (datagram) session.hooks.datagram = (bytes) => guard(session, () => datagram.call(handlers, facade, bytes));
  if (stream) session.hooks.stream = (opened) => guard(session, () => stream.call(handlers, facade, opened));
  session.hooks.opened = () => guard(session, () => handlers.open?.(facade));
  session.hooks.closed = (info) => {
    if (close) guard(session, () => close.call(handlers, facade, info));
  };
  const result = engine.functions.mq_accept(engine.handle, id, fields, fields?.length ?? 0);
  if (result < 0) session.fail(new Error("the session could not be accepted"));
}

