import { setImmediate } from "node:timers";
import {
  ERR_GONE, EVENT_ABORTED, EVENT_ENDED, EVENT_FAILED, EVENT_READABLE, EVENT_RESET, EVENT_RESPONSE, EVENT_STOPPED,
  EVENT_TRAILERS, EVENT_WRITABLE, FLAG_END, H3_REQUEST_CANCELLED,
} from "./abi.ts";
import { borrow, type ClientOptions } from "./client.ts";
import { deferred, type Deferred } from "./deferred.ts";
import { bytesOf, decode, encode, type Engine, type EngineEvent, Hold, type Target } from "./engine.ts";
import { argumentError, QuicheError, quicheError } from "./errors.ts";
import { decodeFields, encodeFields } from "./fields.ts";
import { Receiver, Sender } from "./streams.ts";
import { expectTrailers, moveTrailers, trailersFor } from "./trailers.ts";

export interface FetchInit extends RequestInit, ClientOptions {}

const MAX_REDIRECTS = 20;
const BODILESS = [204, 205, 304];
const BODY_FIELDS = ["content-encoding", "content-language", "content-location", "content-type", "content-length"];
const NOTHING = new Uint8Array(0);

/** The error that `fetch` rejects with: a `TypeError`, as the web's does, with the library's code. */
function fetchError(cause: QuicheError): TypeError & { code: string } {
  return Object.assign(new TypeError(cause.message, { cause }), { code: cause.code });
}

/** A request of this client's, and its response. */
class ClientExchange implements Target {
  readonly response = deferred<Response>();
  readonly #engine: Engine;
  readonly #id: number;
  readonly #request: Request;
  readonly #giveBack: () => void;
  readonly #hold = new Hold();
  readonly #sender: Sender;
  readonly #onAbort = (): void => this.#cancel(this.#request.signal.reason);
  #upload: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #receiver: Receiver | undefined;
  #trailers: Deferred<Headers> | undefined;
  #over = false;

  constructor(engine: Engine, request: Request, body: Uint8Array | undefined, giveBack: () => void) {
    this.#engine = engine;
    this.#request = request;
    this.#giveBack = giveBack;
    const { functions, handle } = engine;
    const method = encode(request.method);
    const url = encode(request.url);
    const fields = encodeFields(request.headers, (name) => name === "host");
    const stream = body ? null : request.body;
    const data = body ?? NOTHING;
    const { id, taken } = engine.startOf((place) =>
      functions.mq_request(
        handle, method, method.length, url, url.length, fields, fields?.length ?? 0, data.length ? data : null,
        data.length, stream ? 0 : FLAG_END, place,
      ),
    );
    this.#id = id;
    this.#sender = new Sender(engine, id);
    engine.targets.set(id, this);
    this.#hold.set(true);
    request.signal.addEventListener("abort", this.#onAbort);
    if (stream) this.#send(stream.getReader() as ReadableStreamDefaultReader<Uint8Array>);
    else if (taken < data.length) this.#sendRest(data.subarray(taken)).catch(() => {});
  }

  async #sendRest(data: Uint8Array): Promise<void> {
    await this.#sender.room();
    await this.#sender.write(data, true);
  }

  async #send(body: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    this.#upload = body;
    try {
      for (;;) {
        const { done, value } = await body.read();
        if (done) break;
        await this.#sender.write(bytesOf(value, "a chunk of a body"));
      }
      await this.#sender.finish(encodeFields(await trailersFor(this.#request)));
    } catch (error) {
      body.cancel(error).catch(() => {});
      // The server may answer without the rest of the body.
      if (error instanceof QuicheError && ["ERR_MQ_STOPPED", "ERR_MQ_GONE"].includes(error.code)) return;
      this.#cancel(error);
    }
  }

  onEvent(event: EngineEvent): void {
    switch (event.kind) {
      case EVENT_RESPONSE:
        this.#onResponse(event);
        break;
      case EVENT_READABLE:
        this.#receiver?.onReadable();
        break;
      case EVENT_WRITABLE:
        this.#sender.onWritable();
        break;
      case EVENT_TRAILERS:
        this.#trailers?.resolve(new Headers(decodeFields(event.data)));
        break;
      case EVENT_RESET:
        this.#fail(fetchError(new QuicheError("ERR_MQ_RESET", decode(event.data) || "the server reset the response")));
        break;
      case EVENT_STOPPED:
        this.#sender.error(new QuicheError("ERR_MQ_STOPPED", "the server does not want the rest of the request"));
        break;
      case EVENT_FAILED:
        this.#fail(fetchError(quicheError(event.code, decode(event.data))));
        break;
      case EVENT_ABORTED:
      case EVENT_ENDED:
        this.#fail(fetchError(new QuicheError("ERR_MQ_CLOSED", "the connection ended")));
        break;
    }
  }

  #onResponse(event: EngineEvent): void {
    this.#hold.set(false);
    const { functions, handle } = this.#engine;
    const hasBody = !(event.flags & FLAG_END) && !BODILESS.includes(event.code) && this.#request.method !== "HEAD";
    if (hasBody) {
      const cancel = () => void functions.mq_reset(handle, this.#id, H3_REQUEST_CANCELLED);
      this.#receiver = new Receiver(this.#engine, this.#id, cancel, () => {
        // Trailer fields may wait among the events.
        setImmediate(() => {
          this.#engine.poll();
          this.#trailers?.resolve(new Headers());
          this.#end();
        });
      });
    }
    const headers = decodeFields(event.data).filter(([name]) => !name.startsWith(":"));
    let response: Response;
    try {
      response = new Response(this.#receiver?.stream ?? null, { status: event.code, headers });
    } catch {
      this.#cancel(fetchError(new QuicheError("ERR_MQ_MALFORMED", `the response has the status ${event.code}`)));
      return;
    }
    if (hasBody) this.#trailers = expectTrailers(response);
    else {
      // Reads the end, by which the library forgets it.
      this.#engine.read(this.#id);
      this.#end();
    }
    this.response.resolve(response);
  }

  /** Gives it up. */
  #cancel(reason: unknown): void {
    if (this.#over) return;
    this.#engine.functions.mq_reset(this.#engine.handle, this.#id, H3_REQUEST_CANCELLED);
    this.#fail(reason);
  }

  #fail(reason: unknown): void {
    this.response.reject(reason);
    this.#sender.error(reason);
    this.#upload?.cancel(reason).catch(() => {});
    this.#trailers?.reject(reason);
    this.#receiver?.error(reason);
    this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#hold.set(false);
    this.#request.signal.removeEventListener("abort", this.#onAbort);
    this.#engine.targets.delete(this.#id);
    // What is unsent is not wanted any more.
    const over = quicheError(ERR_GONE, "the response ended before the request was sent");
    this.#sender.error(over);
    this.#upload?.cancel(over).catch(() => {});
    this.#giveBack();
  }
}

function isStream(body: unknown): boolean {
  return typeof body === "object" && body !== null && (body instanceof ReadableStream || Symbol.asyncIterator in body);
}

/** Whether, and how, a redirect is followed (Fetch, section 4.4). */
function redirected(
  request: Request,
  response: Response,
  body: Uint8Array | undefined,
  isStreamed: boolean,
): [Request, Uint8Array?] | undefined {
  const location = response.headers.get("location");
  if (![301, 302, 303, 307, 308].includes(response.status) || !location || request.redirect === "manual") return;
  if (request.redirect === "error") throw new TypeError("the server redirects, and redirect is \"error\"");
  const url = new URL(location, request.url);
  if (url.protocol !== "https:") throw new TypeError(`the server redirects to ${url.protocol} instead of https:`);
  const { status } = response;
  const toGet = status === 303 ? !["GET", "HEAD"].includes(request.method) : status < 303 && request.method === "POST";
  const headers = new Headers(request.headers);
  if (url.origin !== new URL(request.url).origin) headers.delete("authorization");
  if (!toGet && isStreamed) throw new TypeError("the server redirects a request whose body was a stream");
  if (toGet) for (const name of BODY_FIELDS) headers.delete(name);
  const method = toGet ? "GET" : request.method;
  const next = new Request(url, { method, headers, signal: request.signal, redirect: request.redirect });
  return [next, toGet ? undefined : body];
}

/** Sends a request over HTTP/3, and resolves to the response when its head has arrived. */
export async function fetch(input: string | URL | Request, init: FetchInit = {}): Promise<Response> {
  if (typeof init !== "object" || init === null) throw argumentError("the second argument must be an object");
  const isStreamed = isStream(init.body) || (input instanceof Request && input.body !== null);
  let request = new Request(input, (isStreamed ? { ...init, duplex: "half" } : init) as RequestInit);
  if (input instanceof Request) moveTrailers(input, request);
  if (!request.url.startsWith("https:")) throw argumentError(`HTTP/3 needs an https URL, not ${request.url}`);
  request.signal.throwIfAborted();
  let body: Uint8Array | undefined;
  if (!isStreamed && request.body !== null) body = new Uint8Array(await request.clone().arrayBuffer());
  for (let redirects = 0; ; redirects++) {
    const { engine, giveBack } = borrow(init);
    let response: Response;
    try {
      response = await new ClientExchange(engine, request, body, giveBack).response.promise;
    } catch (error) {
      giveBack();
      throw error instanceof QuicheError ? fetchError(error) : error;
    }
    const next = redirected(request, response, body, isStreamed);
    if (!next) {
      Object.defineProperty(response, "url", { value: request.url.replace(/#.*/, "") });
      Object.defineProperty(response, "redirected", { value: redirects > 0 });
      return response;
    }
    await response.body?.cancel();
    if (redirects === MAX_REDIRECTS) throw new TypeError(`the server redirects more than ${MAX_REDIRECTS} times`);
    [request, body] = next;
  }
}
