import { EVENT_CLOSED, EVENT_CONNECTED, EVENT_REQUEST, EVENT_SESSION_REQUEST } from "./abi.ts";
import { decode, Engine, type EngineEvent, Hold, type Target } from "./engine.ts";
import { argumentError } from "./errors.ts";
import { type RequestHead, requestHead, ServerExchange } from "./exchange.ts";
import { encodeFields, type SettingPairs, type Settings } from "./fields.ts";
import { answerSession, type WebTransportHandlers } from "./server_session.ts";

export type FetchHandler = (request: Request, server: Server) => Response | Promise<Response>;

/** What `Server.reload` can replace. */
export interface Handlers {
  fetch?: FetchHandler;
  error?: (error: unknown) => Response | Promise<Response>;
  webtransport?: Record<string, WebTransportHandlers>;
}

export interface ServeOptions extends Handlers {
  port?: number;
  hostname?: string;
  cert: string | string[];
  key: string | string[];
  settings?: Settings;
}

function checkHandlers(options: Handlers): void {
  for (const name of ["fetch", "error"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw argumentError(`${name} must be a function`);
    }
  }
  const paths = options.webtransport ?? {};
  if (typeof paths !== "object") throw argumentError("webtransport must be an object of paths and their handlers");
  for (const [path, handlers] of Object.entries(paths)) {
    if (!path.startsWith("/") && path !== "*") {
      throw argumentError(`the path ${JSON.stringify(path)} must begin with a slash`);
    }
    if (typeof handlers !== "object" || handlers === null) {
      throw argumentError(`the handlers of ${path} must be an object`);
    }
    for (const name of ["accept", "open", "datagram", "stream", "close"] as const) {
      if (handlers[name] !== undefined && typeof handlers[name] !== "function") {
        throw argumentError(`${name} of ${path} must be a function`);
      }
    }
  }
}

/** Certificates as settings: files, or PEM text. */
function certificates(options: ServeOptions): SettingPairs {
  const certs = [options.cert].flat();
  const keys = [options.key].flat();
  if (certs.length === 0 || certs.length !== keys.length) throw argumentError("cert and key must come in pairs");
  if ([...certs, ...keys].some((value) => typeof value !== "string" || value === "")) {
    throw argumentError("cert and key must be PEM texts or paths of files");
  }
  const isPem = (value: string): boolean => value.includes("-----BEGIN");
  return certs.flatMap((cert, i): SettingPairs => {
    const key = keys[i]!;
    if (isPem(cert) !== isPem(key)) throw argumentError("cert and key must both be PEM texts, or both paths");
    const form = isPem(cert) ? "pem" : "file";
    return [[`cert_${form}`, cert], [`key_${form}`, key]];
  });
}

function listenAddress(hostname: unknown, port: unknown): string {
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw argumentError(`port must be a whole number from 0 to 65535, not ${String(port)}`);
  }
  if (typeof hostname !== "string") throw argumentError("hostname must be a string");
  const ip = hostname === "localhost" ? "127.0.0.1" : hostname;
  return ip.includes(":") && !ip.startsWith("[") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** A server. */
export class Server implements Target, AsyncDisposable {
  readonly #engine: Engine;
  readonly #hold = new Hold();
  readonly #address: URL;
  /** Addresses of clients by their connections. */
  readonly #clients = new Map<number, string>();
  readonly #addresses = new WeakMap<Request, string>();
  #handlers: Handlers;
  #pending = 0;

  constructor(options: ServeOptions) {
    if (typeof options !== "object" || options === null) throw argumentError("serve needs an object of options");
    checkHandlers(options);
    if (!options.fetch && !options.webtransport) throw argumentError("serve needs fetch, webtransport or both");
    this.#handlers = { ...options };
    const listen = listenAddress(options.hostname ?? "::", options.port ?? 3000);
    const others: SettingPairs = Object.entries(options.settings ?? {});
    this.#engine = new Engine("server", [["listen", listen], ...certificates(options), ...others], this);
    this.#address = new URL(`https://${this.#engine.localAddr()}/`);
    this.#hold.set(true);
    this.#engine.ended.then(() => this.#hold.set(false));
  }

  /** The UDP port. */
  get port(): number {
    return Number(this.#address.port || 443);
  }

  /** The IP address that it is bound to, in brackets if it is of IPv6. */
  get hostname(): string {
    return this.#address.hostname;
  }

  /** `https://localhost:PORT/`, or the address if it is not that of any interface. */
  get url(): URL {
    const url = new URL(this.#address);
    if (["[::]", "0.0.0.0"].includes(url.hostname)) url.hostname = "localhost";
    return url;
  }

  get pendingRequests(): number {
    return this.#pending;
  }

  /** The address of the client that sent a request; null if it is not known. */
  requestIP(request: Request): { address: string; family: "IPv4" | "IPv6"; port: number } | null {
    const parts = /^\[?(.*?)\]?:(\d+)$/.exec(this.#addresses.get(request) ?? "");
    if (!parts) return null;
    const address = parts[1]!;
    return { address, family: address.includes(":") ? "IPv6" : "IPv4", port: Number(parts[2]) };
  }

  /** Lets the process end although the server runs. */
  unref(): this {
    this.#hold.set(false);
    return this;
  }

  /** Keeps the process alive while the server runs; the default. */
  ref(): this {
    this.#hold.set(!this.#engine.stopped);
    return this;
  }

  /** Stops gracefully: running requests may end. With `closeActiveConnections`, at once. */
  stop(closeActiveConnections = false): Promise<void> {
    if (closeActiveConnections) this.#engine.stop();
    else if (!this.#engine.stopped) this.#engine.functions.mq_shutdown(this.#engine.handle);
    return this.#engine.ended;
  }

  /** Replaces the handlers given, and reads the files of certificates again, for new connections. */
  async reload(handlers: Handlers = {}): Promise<void> {
    checkHandlers(handlers);
    this.#handlers = { ...this.#handlers, ...handlers };
    await this.#engine.ask("mq_reload");
  }

  /** Counters of the engine, by name. */
  async stats(): Promise<Record<string, number>> {
    return JSON.parse(await this.#engine.ask("mq_stats"));
  }

  /** Metrics as text for Prometheus. */
  metrics(): Promise<string> {
    return this.#engine.ask("mq_metrics");
  }

  onEvent(event: EngineEvent): void {
    if (event.kind === EVENT_REQUEST) this.#onRequest(event);
    else if (event.kind === EVENT_SESSION_REQUEST) this.#onSession(event);
    else if (event.kind === EVENT_CONNECTED) this.#clients.set(event.id, decode(event.data));
    else if (event.kind === EVENT_CLOSED) this.#clients.delete(event.id);
  }

  #onRequest(event: EngineEvent): void {
    let exchange: ServerExchange;
    try {
      exchange = new ServerExchange(this.#engine, event, requestHead(event.data), () => this.#pending--);
    } catch {
      // A URL or a method that a `Request` cannot have.
      this.#reject(event.id, 400);
      return;
    }
    this.#remember(exchange.request, event.parent);
    this.#pending++;
    this.#answer(exchange).catch(() => exchange.reset());
  }

  #remember(request: Request, connection: number): void {
    const client = this.#clients.get(connection);
    if (client) this.#addresses.set(request, client);
  }

  async #answer(exchange: ServerExchange): Promise<void> {
    const fetch = this.#handlers.fetch;
    let response: Response;
    try {
      response = fetch ? await fetch.call(this, exchange.request, this) : new Response("Not Found\n", { status: 404 });
      if (!(response instanceof Response)) throw argumentError("fetch must return a Response");
      if (response.bodyUsed) throw argumentError("the body of the Response that fetch returned was used already");
      if (response.status < 200) throw argumentError("fetch must return a Response with a status of 200 to 599");
    } catch (error) {
      response = await this.#onError(error);
    }
    await exchange.respond(response);
  }

  async #onError(error: unknown): Promise<Response> {
    if (this.#handlers.error) {
      const response = await this.#handlers.error.call(this, error);
      if (response instanceof Response) return response;
    } else console.error(error);
    return new Response("Internal Server Error\n", { status: 500 });
  }

  #onSession(event: EngineEvent): void {
    let head: RequestHead;
    let request: Request;
    try {
      head = requestHead(event.data);
      request = new Request(head.url, { headers: head.headers });
    } catch {
      this.#reject(event.id, 400);
      return;
    }
    this.#remember(request, event.parent);
    const paths = this.#handlers.webtransport ?? {};
    const handlers = Object.hasOwn(paths, head.path) ? paths[head.path] : paths["*"];
    if (!handlers) this.#reject(event.id, 404);
    else void answerSession(this.#engine, event.id, request, handlers, this);
  }

  #reject(id: number, status: number): void {
    const fields = encodeFields([["content-length", "0"]]);
    this.#engine.functions.mq_respond(this.#engine.handle, id, status, fields, fields!.length, null, 0, 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a server of HTTP/3 and WebTransport. */
export function serve(options: ServeOptions): Server {
  return new Server(options);
}

