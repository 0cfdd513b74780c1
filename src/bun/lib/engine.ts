import process from "node:process";
import { setImmediate } from "node:timers";
import {
  ERR_ENDED, ERR_GONE, ERR_RESET, ERR_STOPPED, ERR_TOO_LARGE, EVENT_ENDED, EVENT_METRICS, EVENT_RELOADED, EVENT_SIZE,
  EVENT_STATS, EVENT_STREAM, type Functions,
} from "./abi.ts";
import { argumentError, QuicheError, quicheError } from "./errors.ts";
import { encodeSettings, type SettingPairs } from "./fields.ts";
import { deferred, type Deferred } from "./deferred.ts";
import { backend, setWake } from "./native.ts";

/** An event. `data` is lent until the next event. */
export interface EngineEvent {
  kind: number;
  flags: number;
  id: number;
  parent: number;
  code: number;
  data: Uint8Array;
}

/** What an id names. */
export interface Target {
  onEvent(event: EngineEvent): void;
}

/** Events of a call, and calls before other tasks have their turn. */
const BATCH = 256;
const ROUNDS = 8;
const events = new Uint8Array(BATCH * EVENT_SIZE);
const view = new DataView(events.buffer);
let payloads = new Uint8Array(256 * 1024);
const chunk = new Uint8Array(64 * 1024);
const number = new DataView(new ArrayBuffer(8));
const place = new Uint8Array(number.buffer);
const text = new TextDecoder();
const utf8 = new TextEncoder();

const engines = new Set<Engine>();

/** Takes the events of all engines: a wake-up does not say whose they are. */
setWake(() => {
  for (const engine of engines) engine.poll();
});

/** Ends the engines' threads before the runtime that they wake. */
function stopAll(): void {
  for (const engine of engines) engine.stop();
}

function read64(at: DataView, offset: number): number {
  return at.getUint32(offset, true) + at.getUint32(offset + 4, true) * 2 ** 32;
}

/** Keeps the process alive while anything needs it. */
let holds = 0;
let timer: ReturnType<typeof setInterval> | undefined;

export function hold(): void {
  if (holds++ === 0) timer = setInterval(() => {}, 2 ** 31 - 1);
}

export function letGo(): void {
  if (--holds === 0) clearInterval(timer);
}

/** Something that may keep the process alive. */
export class Hold {
  #held = false;

  get held(): boolean {
    return this.#held;
  }

  set(held: boolean): void {
    if (held === this.#held) return;
    this.#held = held;
    if (held) hold();
    else letGo();
  }
}

/** Whether a buffer has been transferred. Node has a property for it since 21 only. */
function isDetached(buffer: ArrayBufferLike): boolean {
  if (buffer.byteLength > 0) return false;
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

/** Bytes, as the web's APIs take them. */
export function bytesOf(data: unknown, what: string): Uint8Array {
  if (typeof data === "string") return utf8.encode(data);
  const isBuffer = data instanceof ArrayBuffer;
  if (isBuffer || ArrayBuffer.isView(data)) {
    if (isDetached(isBuffer ? data : data.buffer)) throw argumentError(`${what} has a buffer that is detached`);
    if (data instanceof Uint8Array) return data;
    return isBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  throw argumentError(`${what} must be a Uint8Array, an ArrayBuffer or a string`);
}

export function encode(value: string): Uint8Array {
  return utf8.encode(value);
}

export function decode(data: Uint8Array): string {
  return text.decode(data);
}

/** A server or a client of the library, with a thread of its own. */
export class Engine implements AsyncDisposable {
  readonly targets = new Map<number, Target>();
  /** The functions, for calls that need no other argument than what they say. */
  readonly functions: Functions;
  readonly handle: number;
  readonly #root: Target;
  readonly #answers = new Map<number, Deferred<string>[]>();
  readonly #ended = deferred<void>();
  #stopped = false;

  /** `root` gets the events of what no other target is known for. */
  constructor(role: "server" | "client", settings: SettingPairs, root: Target) {
    const { functions, wake } = backend();
    this.functions = functions;
    this.#root = root;
    const section = encodeSettings([...settings, ["thread", true]]);
    const start = role === "server" ? functions.mq_server_new : functions.mq_client_new;
    this.check(start(section, section.length, wake, place));
    this.handle = read64(number, 0);
    if (engines.size === 0) process.on("exit", stopAll);
    engines.add(this);
    backend().watch(this.handle);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Resolves when the engine has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Throws the error of a negative result. */
  check(result: number): number {
    if (result >= 0) return result;
    const needed = this.functions.mq_last_error(chunk, chunk.length);
    const detail = text.decode(chunk.subarray(0, Math.min(needed, chunk.length)));
    throw quicheError(result, detail);
  }

  /**
   * Whether a call with `id` failed because what it names has ended, and the event that says how is still under way:
   * the engine's thread is ahead of the events.
   */
  isEnding(id: number, result: number): boolean {
    return [ERR_GONE, ERR_RESET, ERR_STOPPED, ERR_ENDED].includes(result) && this.targets.has(id);
  }

  /** Takes the events that wait. */
  poll(): void {
    for (let round = 0; round < ROUNDS; round++) {
      if (this.#stopped) return;
      const count = this.functions.mq_poll_into(this.handle, events, BATCH, payloads, payloads.length, 0);
      if (count === ERR_TOO_LARGE) {
        payloads = new Uint8Array(read64(view, 40) * 2);
        continue;
      }
      if (count <= 0) return;
      for (let i = 0; i < count && !this.#stopped; i++) {
        const at = i * EVENT_SIZE;
        const from = read64(view, at + 48);
        this.#dispatch({
          kind: view.getUint32(at, true),
          flags: view.getUint32(at + 4, true),
          id: read64(view, at + 8),
          parent: read64(view, at + 16),
          code: read64(view, at + 24),
          data: payloads.subarray(from, from + read64(view, at + 40)),
        });
      }
    }
    // The program's promises and timers have their turn, too.
    setImmediate(() => this.poll());
  }

  #dispatch(event: EngineEvent): void {
    switch (event.kind) {
      case EVENT_ENDED:
        this.stop();
        return;
      case EVENT_RELOADED:
      case EVENT_STATS:
      case EVENT_METRICS: {
        const answer = this.#answers.get(event.kind)?.shift();
        if (event.code) answer?.reject(quicheError(event.code, decode(event.data)));
        else answer?.resolve(decode(event.data));
        return;
      }
    }
    try {
      // A stream of the peer's is news to its session.
      const whose = event.kind === EVENT_STREAM ? event.parent : event.id;
      (this.targets.get(whose) ?? this.#root).onEvent(event);
    } catch (error) {
      // An error of the program's own, which must not keep the other events from it.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** Asks for what an event of the engine will bring. */
  ask(ask: "mq_reload" | "mq_stats" | "mq_metrics"): Promise<string> {
    const kind = { mq_reload: EVENT_RELOADED, mq_stats: EVENT_STATS, mq_metrics: EVENT_METRICS }[ask];
    this.check(this.functions[ask](this.handle));
    const answer = deferred<string>();
    const waiting = this.#answers.get(kind) ?? [];
    waiting.push(answer);
    this.#answers.set(kind, waiting);
    return answer.promise;
  }

  localAddr(): string {
    const length = this.check(this.functions.mq_local_addr(this.handle, chunk, chunk.length));
    return decode(chunk.subarray(0, length));
  }

  /** An id that a call writes to its last argument. */
  idOf(call: (place: Uint8Array) => number): number {
    this.check(call(place));
    return read64(number, 0);
  }

  /** What a call that starts something returns, and the id it writes. */
  startOf(call: (place: Uint8Array) => number): { id: number; taken: number } {
    const taken = this.check(call(place));
    return { id: read64(number, 0), taken };
  }

  /** The next bytes of a stream, or the code why there are none; 0 at its end. */
  read(id: number): Uint8Array<ArrayBuffer> | number {
    const length = this.functions.mq_read(this.handle, id, chunk, chunk.length);
    return length > 0 ? chunk.slice(0, length) : length;
  }

  /** As `mq_write`. */
  write(id: number, data: Uint8Array, flags: number): number {
    return this.functions.mq_write(this.handle, id, data.length ? data : null, data.length, flags);
  }

  /** Ends the engine at once, and with it everything that it has. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    engines.delete(this);
    if (engines.size === 0) process.off("exit", stopAll);
    backend().unwatch(this.handle);
    this.functions.mq_stop(this.handle);
    const over = new QuicheError("ERR_MQ_ENDED", "it has been stopped");
    for (const waiting of this.#answers.values()) for (const answer of waiting) answer.reject(over);
    for (const [id, target] of [...this.targets]) {
      try {
        // What the engine would have said of each.
        target.onEvent({ kind: EVENT_ENDED, flags: 0, id, parent: 0, code: 0, data: new Uint8Array(0) });
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    this.targets.clear();
    this.#ended.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }
}
