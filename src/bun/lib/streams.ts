import { ERR_AGAIN, ERR_GONE, FLAG_END } from "./abi.ts";
import { deferred, type Deferred } from "./deferred.ts";
import { type Engine, Hold } from "./engine.ts";
import { quicheError } from "./errors.ts";

/** The receiving direction of a stream: bytes are read when they are asked for, so what nobody reads stops the peer. */
export class Receiver {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #engine: Engine;
  readonly #id: number;
  readonly #hold = new Hold();
  readonly #onOver: () => void;
  #controller!: ReadableByteStreamController;
  #waiting: Deferred<void> | undefined;
  #over = false;
  /** Bytes that were read. */
  received = 0;

  /** `cancel` tells the library that nobody reads any more; `onOver` is called once, at the end or an error. */
  constructor(engine: Engine, id: number, cancel: (reason: unknown) => void, onOver: () => void) {
    this.#engine = engine;
    this.#id = id;
    this.#onOver = onOver;
    this.stream = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: (reason) => {
        if (this.#finish()) cancel(reason);
      },
    });
  }

  #pull(): Promise<void> | undefined {
    if (this.#over) return;
    if (this.#read()) return;
    this.#hold.set(true);
    this.#waiting = deferred();
    return this.#waiting.promise;
  }

  /** Passes on what has arrived. Returns false if there is nothing yet. */
  #read(): boolean {
    const taken = this.#engine.read(this.#id);
    if (typeof taken !== "number") {
      this.received += taken.length;
      this.#controller.enqueue(taken);
    } else if (taken === 0) {
      this.#finish();
      this.#controller.close();
      // A reader with a buffer of its own waits for an answer.
      this.#controller.byobRequest?.respond(0);
    } else if (this.#engine.isEnding(this.#id, taken)) {
      return false;
    } else if (taken === ERR_AGAIN && this.#engine.targets.has(this.#id)) {
      return false;
    } else {
      const isGone = taken === ERR_GONE || taken === ERR_AGAIN;
      this.error(isGone ? quicheError(ERR_GONE, "the stream ended before its data was read") : quicheError(taken));
    }
    return true;
  }

  /** There is something to read, or no event will come any more. */
  onReadable(): void {
    if (this.#waiting && this.#read()) this.#settle();
  }

  #settle(): void {
    this.#hold.set(false);
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #finish(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#settle();
    this.#onOver();
    return true;
  }

  /** Nothing more can be read, for `reason`. */
  error(reason: unknown): void {
    if (this.#finish()) this.#controller.error(reason);
  }
}

/** The sending direction of a stream. */
export class Sender {
  readonly #engine: Engine;
  readonly #id: number;
  readonly #hold = new Hold();
  #waiting: Deferred<void> | undefined;
  #failure: { reason: unknown } | undefined;
  /** Bytes that were written. */
  sent = 0;

  constructor(engine: Engine, id: number) {
    this.#engine = engine;
    this.#id = id;
  }

  /** Sends all of `data`, and nothing after it with `end`. Resolves when the library has all. */
  async write(data: Uint8Array, end = false): Promise<void> {
    for (let rest = data; ; ) {
      if (this.#failure) throw this.#failure.reason;
      const taken = this.#engine.write(this.#id, rest, end ? FLAG_END : 0);
      if (taken < 0 && taken !== ERR_AGAIN && !this.#engine.isEnding(this.#id, taken)) throw quicheError(taken);
      if (taken > 0) this.sent += taken;
      if (taken === rest.length) return;
      if (taken > 0) rest = rest.subarray(taken);
      await this.room();
    }
  }

  /** Resolves when there is room again; rejects when nothing more can be sent. */
  async room(): Promise<void> {
    if (this.#failure) throw this.#failure.reason;
    this.#hold.set(true);
    this.#waiting = deferred();
    await this.#waiting.promise;
  }

  /** Ends it, with trailer fields if there are any. */
  async finish(trailers: Uint8Array | null): Promise<void> {
    if (this.#failure) throw this.#failure.reason;
    const { functions, handle } = this.#engine;
    const result = functions.mq_finish(handle, this.#id, trailers, trailers?.length ?? 0);
    if (this.#engine.isEnding(this.#id, result)) await this.room();
    else this.#engine.check(result);
  }

  onWritable(): void {
    this.#hold.set(false);
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  /** Nothing more can be sent, for `reason`. */
  error(reason: unknown): void {
    this.#failure ??= { reason };
    this.#hold.set(false);
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }
}
