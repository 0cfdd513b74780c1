import { setImmediate } from "node:timers";
import {
  EVENT_ABORTED, EVENT_ENDED, EVENT_READABLE, EVENT_RESET, EVENT_STOPPED, EVENT_TRAILERS, EVENT_WRITABLE, FLAG_EARLY,
  FLAG_END, H3_INTERNAL_ERROR,
} from "./abi.ts";
import type { Deferred } from "./deferred.ts";
import { bytesOf, type Engine, type EngineEvent, type Target } from "./engine.ts";
import { QuicheError } from "./errors.ts";
import { decodeFields, encodeFields } from "./fields.ts";
import { Receiver, Sender } from "./streams.ts";
import { expectTrailers, hasTrailers, trailersFor } from "./trailers.ts";

const NOTHING = new Uint8Array(0);

/** What a promise resolved to, if it has within this turn of the microtasks; undefined otherwise. */
export async function soon<T>(promise: Promise<T>): Promise<T | undefined> {
  let value: T | undefined;
  promise.then(
    (result) => (value = result),
    () => {},
  );
  for (let i = 0; i < 4 && value === undefined; i++) await null;
  return value;
}

/** A request that this server answers. */
export class ServerExchange implements Target {
  readonly request: Request;
  readonly #engine: Engine;
  readonly #id: number;
  readonly #abort = new AbortController();
  readonly #sender: Sender;
  readonly #receiver: Receiver | undefined;
  readonly #trailers: Deferred<Headers> | undefined;
  readonly #isHead: boolean;
  readonly #onOver: () => void;
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #responded = false;
  #over = false;

  /** Throws if a `Request` cannot have what the event says. `onOver` is called at the end. */
  constructor(engine: Engine, event: EngineEvent, head: RequestHead, onOver: () => void) {
    this.#engine = engine;
    this.#id = event.id;
    this.#onOver = onOver;
    this.#sender = new Sender(engine, event.id);
    this.#isHead = head.method === "HEAD";
    // It may be a replay (RFC 8470, section 5.1).
    if (event.flags & FLAG_EARLY) head.headers.set("early-data", "1");
    const init: RequestInit & { duplex?: "half" } = { method: head.method, headers: head.headers };
    init.signal = this.#abort.signal;
    if (!(event.flags & FLAG_END) && head.method !== "GET" && !this.#isHead) {
      this.#receiver = new Receiver(engine, event.id, () => {}, () => {
        // Trailer fields may wait among the events.
        setImmediate(() => {
          engine.poll();
          this.#trailers?.resolve(new Headers());
        });
      });
      init.body = this.#receiver.stream;
      init.duplex = "half";
    }
    this.request = new Request(head.url, init);
    if (this.#receiver) this.#trailers = expectTrailers(this.request);
    engine.targets.set(event.id, this);
  }

  onEvent(event: EngineEvent): void {
    switch (event.kind) {
      case EVENT_READABLE:
        this.#receiver?.onReadable();
        break;
      case EVENT_WRITABLE:
        this.#sender.onWritable();
        break;
      case EVENT_TRAILERS:
        this.#trailers?.resolve(new Headers(decodeFields(event.data)));
        break;
      case EVENT_RESET: {
        const reason = cancelled("the client reset the request");
        this.#trailers?.reject(reason);
        this.#receiver?.error(reason);
        this.#abort.abort(reason);
        break;
      }
      case EVENT_STOPPED:
        this.#fail(cancelled("the client does not want the response any more"));
        this.#engine.functions.mq_release(this.#engine.handle, this.#id);
        break;
      case EVENT_ABORTED:
      case EVENT_ENDED:
        this.#fail(cancelled("the connection ended"));
        break;
    }
  }

  /** Ends it for a reason of the peer's or of the connection's. */
  #fail(reason: Error): void {
    if (!this.#end()) return;
    this.#sender.error(reason);
    this.#trailers?.reject(reason);
    this.#receiver?.error(reason);
    this.#body?.cancel(reason).catch(() => {});
    this.#abort.abort(reason);
  }

  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#engine.targets.delete(this.#id);
    this.#onOver();
    return true;
  }

  /** Whether a response has begun, or is not wanted any more. */
  get responded(): boolean {
    return this.#responded || this.#over;
  }

  /** Gives it up with an error code of HTTP/3. */
  reset(code = H3_INTERNAL_ERROR): void {
    if (this.#over) return;
    this.#engine.functions.mq_reset(this.#engine.handle, this.#id, code);
    this.#fail(cancelled("the response failed"));
  }

  /** Sends a response with its body. Rejects if the body fails, after which `reset` is all that is left. */
  async respond(response: Response): Promise<void> {
    if (this.#over) {
      await response.body?.cancel();
      return;
    }
    const body = response.body?.getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined;
    this.#body = body;
    let first: Uint8Array = NOTHING;
    let next = body?.read();
    let done = next === undefined;
    if (body && next) {
      // A short body goes into the call of its head, which gives it a content-length.
      const result = await soon(next);
      if (result?.value) {
        first = bytesOf(result.value, "a chunk of a body");
        next = body.read();
        done = (await soon(next))?.done ?? false;
      } else done = result?.done ?? false;
    }
    if (this.#over) {
      await body?.cancel();
      return;
    }
    if (this.#isHead && !done) {
      body?.cancel().catch(() => {});
      this.#head(response, NOTHING, false);
      await this.#sender.finish(null);
      this.#end();
      return;
    }
    const end = done && (this.#isHead || !hasTrailers(response));
    const taken = this.#head(response, first, end);
    if (taken < first.length) {
      await this.#sender.room();
      await this.#sender.write(first.subarray(taken), end);
    }
    while (!done) {
      const result = await next!;
      if (result.done) break;
      await this.#sender.write(bytesOf(result.value, "a chunk of a body"));
      next = body!.read();
    }
    if (!end) await this.#sender.finish(encodeFields(await trailersFor(response)));
    // Who still waits for the request's body learns that it is over.
    if (this.#end()) this.#receiver?.onReadable();
  }

  #head(response: Response, body: Uint8Array, end: boolean): number {
    const fields = encodeFields(response.headers);
    const { functions, handle } = this.#engine;
    const data = body.length ? body : null;
    const flags = end ? FLAG_END : 0;
    const taken = this.#engine.check(
      functions.mq_respond(handle, this.#id, response.status, fields, fields?.length ?? 0, data, body.length, flags),
    );
    this.#responded = true;
    return taken;
  }
}

export function cancelled(message: string): QuicheError {
  return new QuicheError("ERR_MQ_CANCELLED", message);
}

/** What the pseudo-header fields of a request say. */
export interface RequestHead {
  method: string;
  url: string;
  path: string;
  headers: Headers;
}

/** Reads the fields of a request. */
export function requestHead(section: Uint8Array): RequestHead {
  const pseudo: Record<string, string> = {};
  const headers = new Headers();
  for (const [name, value] of decodeFields(section)) {
    if (name.startsWith(":")) pseudo[name] = value;
    else headers.append(name, value);
  }
  const { ":method": method = "GET", ":authority": authority = "", ":path": target = "/" } = pseudo;
  const url = new URL(`${pseudo[":scheme"] ?? "https"}://${authority}${target.startsWith("/") ? target : "/"}`);
  return { method, url: url.href, path: url.pathname, headers };
}
