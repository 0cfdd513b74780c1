import {
  ERR_FULL, EVENT_ABORTED, EVENT_DATAGRAM, EVENT_ENDED, EVENT_FAILED, EVENT_READABLE, EVENT_RESET,
  EVENT_SESSION_CLOSED, EVENT_SESSION_DRAINING, EVENT_SESSION_OPENED, EVENT_STOPPED, EVENT_STREAM, EVENT_STREAM_OPENED,
  EVENT_WRITABLE, FLAG_BY_PEER, FLAG_LOCAL, FLAG_UNI,
} from "./abi.ts";
import { deferred } from "./deferred.ts";
import { bytesOf, decode, encode, type Engine, type EngineEvent, Hold, type Target } from "./engine.ts";
import { argumentError, quicheError } from "./errors.ts";
import { Receiver, Sender } from "./streams.ts";

export interface CloseInfo {
  closeCode?: number;
  reason?: string;
}

/** An error of a session or a stream, as the W3C has it. */
export class WebTransportError extends DOMException {
  readonly source: "stream" | "session";
  readonly streamErrorCode: number | null;

  constructor(message = "", options: { source?: "stream" | "session"; streamErrorCode?: number | null } = {}) {
    super(message, "WebTransportError");
    this.source = options.source ?? "stream";
    this.streamErrorCode = options.streamErrorCode ?? null;
  }
}

/** The code of a reason to abort: that of a `WebTransportError`, or 0. */
function codeOf(reason: unknown): number {
  const code = reason instanceof WebTransportError ? reason.streamErrorCode : null;
  return code !== null && Number.isInteger(code) && code >= 0 && code < 2 ** 32 ? code : 0;
}

/** A stream with both directions. */
export type BidirectionalStream = SessionStream & {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
};

/** A stream of a session: `readable` unless it only sends, `writable` unless it only receives. */
export class SessionStream implements Target {
  readonly readable: ReadableStream<Uint8Array> | undefined;
  readonly writable: WritableStream<Uint8Array> | undefined;
  readonly #engine: Engine;
  readonly #id: number;
  readonly #session: Session;
  readonly #receiver: Receiver | undefined;
  readonly #sender: Sender | undefined;
  #controller: WritableStreamDefaultController | undefined;
  #sends: boolean;
  #receives: boolean;

  constructor(session: Session, engine: Engine, id: number, receives: boolean, sends: boolean) {
    this.#engine = engine;
    this.#id = id;
    this.#session = session;
    this.#sends = sends;
    this.#receives = receives;
    const { functions, handle } = engine;
    if (receives) {
      const cancel = (reason: unknown) => void functions.mq_stop_receiving(handle, id, codeOf(reason));
      this.#receiver = new Receiver(engine, id, cancel, () => this.#over("receive"));
      this.readable = this.#receiver.stream;
    }
    if (sends) {
      const sender = new Sender(engine, id);
      this.#sender = sender;
      this.writable = new WritableStream<Uint8Array>({
        start: (controller) => {
          this.#controller = controller;
          // The sink's `abort` waits for a write under way, which may wait for the peer.
          const { signal } = controller as { signal?: AbortSignal };
          signal?.addEventListener("abort", () => {
            functions.mq_reset_send(handle, id, codeOf(signal.reason));
            sender.error(signal.reason);
          });
        },
        write: (chunk) => sender.write(bytesOf(chunk, "a chunk of a stream")),
        close: async () => {
          await sender.finish(null);
          this.#over("send");
        },
        abort: (reason) => {
          functions.mq_reset_send(handle, id, codeOf(reason));
          sender.error(reason);
          this.#over("send");
        },
      });
    }
    engine.targets.set(id, this);
    session.streams.add(this);
  }

  get bytesSent(): number {
    return this.#sender?.sent ?? 0;
  }

  get bytesReceived(): number {
    return this.#receiver?.received ?? 0;
  }

  #over(direction: "send" | "receive"): void {
    if (direction === "send") this.#sends = false;
    else this.#receives = false;
    if (this.#sends || this.#receives || !this.#session.streams.delete(this)) return;
    this.#session.bytesOfEnded.sent += this.bytesSent;
    this.#session.bytesOfEnded.received += this.bytesReceived;
    this.#engine.targets.delete(this.#id);
  }

  #failSending(reason: unknown): void {
    if (!this.#sends) return;
    this.#controller?.error(reason);
    this.#sender?.error(reason);
    this.#over("send");
  }

  onEvent(event: EngineEvent): void {
    switch (event.kind) {
      case EVENT_READABLE:
        this.#receiver?.onReadable();
        break;
      case EVENT_WRITABLE:
        this.#sender?.onWritable();
        break;
      case EVENT_RESET:
        this.#receiver?.error(new WebTransportError("the peer reset the stream", { streamErrorCode: event.code }));
        break;
      case EVENT_STOPPED:
        this.#failSending(new WebTransportError("the peer stopped the stream", { streamErrorCode: event.code }));
        break;
      case EVENT_ABORTED:
      case EVENT_ENDED:
        this.fail(new WebTransportError("the session of the stream ended", { source: "session" }));
        break;
    }
  }

  /** Ends both directions. */
  fail(reason: unknown): void {
    this.#failSending(reason);
    this.#receiver?.error(reason);
  }
}

/** A queue of what arrives, as a stream that its reader can leave unread up to `bound` items. */
class Incoming<T> {
  readonly stream: ReadableStream<T>;
  readonly #items: T[] = [];
  readonly #drop: (item: T) => void;
  #controller!: ReadableStreamDefaultController<T>;
  #wanted = false;
  #over = false;
  bound = Infinity;
  dropped = 0;

  constructor(drop: (item: T) => void) {
    this.#drop = drop;
    this.stream = new ReadableStream(
      {
        start: (controller: ReadableStreamDefaultController<T>) => {
          this.#controller = controller;
        },
        pull: () => {
          const item = this.#items.shift();
          if (item === undefined) this.#wanted = true;
          else this.#controller.enqueue(item);
        },
        cancel: () => void this.end(),
      },
      { highWaterMark: 0 },
    );
  }

  push(item: T): void {
    if (this.#over) {
      this.#drop(item);
    } else if (this.#wanted) {
      this.#wanted = false;
      this.#controller.enqueue(item);
    } else {
      this.#items.push(item);
      if (this.#items.length > this.bound) {
        this.dropped++;
        this.#drop(this.#items.shift()!);
      }
    }
  }

  /** Drops what waits. */
  end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    for (const item of this.#items.splice(0)) this.#drop(item);
    return true;
  }

  close(): void {
    if (this.end()) this.#controller.close();
  }

  error(reason: unknown): void {
    if (this.end()) this.#controller.error(reason);
  }
}

/** Datagrams of a session. */
export class Datagrams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #session: Session;
  readonly #incoming: Incoming<Uint8Array>;

  constructor(session: Session, incoming: Incoming<Uint8Array>) {
    this.#session = session;
    this.#incoming = incoming;
    this.#incoming.bound = 1024;
    this.readable = incoming.stream;
    this.writable = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        await session.opened;
        session.sendDatagram(chunk);
      },
    });
  }

  /** The largest datagram that can be sent at the moment, in bytes; 0 if it is not known. */
  get maxDatagramSize(): number {
    return this.#session.maxDatagramSize;
  }

  /** Datagrams that wait to be read at most; the oldest are dropped beyond. */
  get incomingHighWaterMark(): number {
    return this.#incoming.bound;
  }

  set incomingHighWaterMark(value: number) {
    if (typeof value !== "number" || !(value >= 0)) throw new RangeError("the mark must not be negative");
    this.#incoming.bound = Math.max(1, value);
  }
}

/** What happens on a session, for a program with handlers. */
export interface SessionHooks {
  opened?(event: EngineEvent): void;
  datagram?(data: Uint8Array): void;
  stream?(stream: SessionStream): void;
  closed?(info: Required<CloseInfo>): void;
}

/** A WebTransport session of either side. */
export class Session implements Target {
  readonly streams = new Set<SessionStream>();
  readonly bytesOfEnded = { sent: 0, received: 0 };
  readonly bidirectional = new Incoming<BidirectionalStream>((stream) => this.#refuse(stream));
  readonly unidirectional = new Incoming<ReadableStream<Uint8Array>>((stream) => void stream.cancel().catch(() => {}));
  readonly datagrams: Datagrams;
  readonly hooks: SessionHooks = {};
  readonly #received = new Incoming<Uint8Array>(() => {});
  readonly #engine: Engine;
  readonly #hold = new Hold();
  readonly #opened = deferred<void>();
  readonly #closed = deferred<Required<CloseInfo>>();
  readonly #draining = deferred<void>();
  #closing: Required<CloseInfo> | undefined;
  #state: "connecting" | "open" | "closed" = "connecting";
  readonly counts = {
    datagramsSent: 0,
    datagramsReceived: 0,
    datagramsLost: 0,
    bytesSent: 0,
    bytesReceived: 0,
    streamsOpened: 0,
    streamsReceived: 0,
  };
  id = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.datagrams = new Datagrams(this, this.#received);
  }

  /** Begins with the id of a session that was asked for. With `keepAlive`, it keeps the process alive. */
  begin(id: number, keepAlive: boolean): void {
    this.id = id;
    this.#engine.targets.set(id, this);
    this.#hold.set(keepAlive);
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get closed(): Promise<Required<CloseInfo>> {
    return this.#closed.promise;
  }

  get draining(): Promise<void> {
    return this.#draining.promise;
  }

  get state(): "connecting" | "open" | "closed" {
    return this.#state;
  }

  get dropped(): number {
    return this.#received.dropped;
  }

  get maxDatagramSize(): number {
    if (this.#state !== "open") return 0;
    return Math.max(0, this.#engine.functions.mq_max_datagram(this.#engine.handle, this.id));
  }

  #refuse(stream: SessionStream): void {
    void stream.readable?.cancel().catch(() => {});
    void stream.writable?.abort().catch(() => {});
  }

  onEvent(event: EngineEvent): void {
    switch (event.kind) {
      case EVENT_SESSION_OPENED:
        this.#state = "open";
        this.hooks.opened?.(event);
        this.#opened.resolve();
        break;
      case EVENT_DATAGRAM: {
        this.counts.datagramsReceived++;
        this.counts.bytesReceived += event.data.length;
        const data = event.data.slice();
        if (this.hooks.datagram) this.hooks.datagram(data);
        else this.#received.push(data);
        break;
      }
      case EVENT_STREAM: {
        this.counts.streamsReceived++;
        const isUni = (event.flags & FLAG_UNI) !== 0;
        const stream = new SessionStream(this, this.#engine, event.id, true, !isUni);
        if (this.hooks.stream) this.hooks.stream(stream);
        else if (isUni) this.unidirectional.push(stream.readable!);
        else this.bidirectional.push(stream as BidirectionalStream);
        break;
      }
      case EVENT_SESSION_DRAINING:
        this.#draining.resolve();
        break;
      case EVENT_SESSION_CLOSED:
        if (event.flags & (FLAG_BY_PEER | FLAG_LOCAL)) {
          const told = { closeCode: event.code, reason: decode(event.data) };
          this.end(event.flags & FLAG_BY_PEER ? told : (this.#closing ?? told));
        } else {
          const reason = decode(event.data);
          const message = reason ? `the connection ended: ${reason}` : "the connection ended";
          this.fail(new WebTransportError(message, { source: "session" }));
        }
        break;
      case EVENT_FAILED: {
        const failure = quicheError(event.code, decode(event.data));
        const error = new WebTransportError(failure.message, { source: "session" });
        this.fail(Object.defineProperty(error, "cause", { value: failure }));
        break;
      }
      case EVENT_ENDED:
        this.fail(new WebTransportError("it has been stopped", { source: "session" }));
        break;
    }
  }

  #queues(): { close(): void; error(reason: unknown): void }[] {
    return [this.bidirectional, this.unidirectional, this.#received];
  }

  /** Ends it as its close says. */
  end(info: Required<CloseInfo>): void {
    if (!this.#over()) return;
    const error = new WebTransportError("the session was closed", { source: "session" });
    for (const stream of [...this.streams]) stream.fail(error);
    for (const incoming of this.#queues()) incoming.close();
    this.#opened.reject(error);
    this.#closed.resolve(info);
    this.hooks.closed?.(info);
  }

  /** Ends it by an error. */
  fail(error: unknown): void {
    if (!this.#over()) return;
    for (const stream of [...this.streams]) stream.fail(error);
    for (const incoming of this.#queues()) incoming.error(error);
    this.#opened.reject(error);
    this.#closed.reject(error);
    this.hooks.closed?.({ closeCode: 0, reason: error instanceof Error ? error.message : String(error) });
  }

  #over(): boolean {
    if (this.#state === "closed") return false;
    this.#state = "closed";
    this.#hold.set(false);
    this.#engine.targets.delete(this.id);
    return true;
  }

  /** Sends a datagram. Returns whether it was taken; it may be lost all the same. */
  sendDatagram(data: unknown): boolean {
    const bytes = bytesOf(data, "a datagram");
    if (this.#state !== "open") return false;
    const { functions, handle } = this.#engine;
    const result = functions.mq_send_datagram(handle, this.id, bytes.length ? bytes : null, bytes.length);
    if (result === ERR_FULL) {
      this.counts.datagramsLost++;
      return false;
    }
    if (this.#engine.isEnding(this.id, result)) return false;
    this.#engine.check(result);
    this.counts.datagramsSent++;
    this.counts.bytesSent += bytes.length;
    return true;
  }

  /** Opens a stream with both directions. Resolves when the peer allows it. */
  async openBidirectional(): Promise<BidirectionalStream> {
    return (await this.#open(false)) as BidirectionalStream;
  }

  /** Opens a stream to send on. Resolves when the peer allows it. */
  async openUnidirectional(): Promise<WritableStream<Uint8Array>> {
    return (await this.#open(true)).writable!;
  }

  async #open(unidirectional: boolean): Promise<SessionStream> {
    await this.opened;
    const closed = (): DOMException => new DOMException("the session is closed", "InvalidStateError");
    if (this.#state === "closed") throw closed();
    const { functions, handle } = this.#engine;
    const id = this.#engine.idOf((place) => {
      const result = functions.mq_open_stream(handle, this.id, unidirectional ? 1 : 0, place);
      if (this.#engine.isEnding(this.id, result)) throw closed();
      return result;
    });
    const opened = deferred<SessionStream>();
    this.#engine.targets.set(id, {
      onEvent: (event) => {
        this.#engine.targets.delete(id);
        if (event.kind === EVENT_STREAM_OPENED && this.#state === "open") {
          this.counts.streamsOpened++;
          opened.resolve(new SessionStream(this, this.#engine, id, !unidirectional, true));
        } else opened.reject(new WebTransportError("the session ended", { source: "session" }));
      },
    });
    return opened.promise;
  }

  /** Asks the peer to end it soon. */
  drain(): void {
    const result = this.#engine.functions.mq_drain_session(this.#engine.handle, this.id);
    if (!this.#engine.isEnding(this.id, result)) this.#engine.check(result);
  }

  close(info: CloseInfo = {}): void {
    if (typeof info !== "object" || info === null) throw argumentError("the close information must be an object");
    const { closeCode = 0, reason = "" } = info;
    if (typeof closeCode !== "number" || !Number.isInteger(closeCode) || closeCode < 0 || closeCode >= 2 ** 32) {
      throw argumentError(`closeCode must be a whole number of 32 bits, not ${String(closeCode)}`);
    }
    const bytes = encode(String(reason));
    if (bytes.length > 1024) throw argumentError("the reason must have 1024 bytes at most");
    const { functions, handle } = this.#engine;
    const send = (): number =>
      functions.mq_close_session(handle, this.id, closeCode, bytes.length ? bytes : null, bytes.length);
    if (this.#state === "closed" || this.#closing) return;
    if (this.#state === "connecting") {
      this.#abandon(send);
      return;
    }
    const result = send();
    if (!this.#engine.isEnding(this.id, result)) this.#engine.check(result);
    this.#closing = { closeCode, reason: String(reason) };
  }

  /** Ends it before it is open; `send` closes it as soon as it is. */
  #abandon(send: () => number): void {
    this.fail(new WebTransportError("the session was closed before it was open", { source: "session" }));
    const { targets } = this.#engine;
    targets.set(this.id, {
      onEvent: ({ kind, id }) => {
        if (kind === EVENT_SESSION_OPENED) send();
        else if ([EVENT_SESSION_CLOSED, EVENT_FAILED].includes(kind)) targets.delete(id);
      },
    });
  }
}
