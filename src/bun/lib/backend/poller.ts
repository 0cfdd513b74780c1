import { Worker } from "node:worker_threads";
import process from "node:process";

/** Engines at a time, and the worker's own. Each engine is a thread, so there are far fewer. */
const MAX_FDS = 1025;

/**
 * Wakes a program whose FFI makes the calling thread wait for JavaScript when it calls back: a worker waits for the
 * engines' descriptors instead, and posts a message. `source` is the worker's program; it gets `poll`'s memory in
 * `workerData`.
 */
export class Poller {
  /** The number of descriptors, then the descriptors. The first one wakes the worker itself. */
  readonly #fds = new Int32Array(new SharedArrayBuffer(4 * (1 + MAX_FDS)));
  /** 1 while the program takes events, 2 when the worker is to end. */
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  readonly #handles = new Map<number, number>();
  readonly #interrupt: () => void;
  readonly #start: () => Worker;
  readonly #onWake: () => void;
  #worker: Worker | undefined;

  /** `control` is the descriptor of an eventfd, and `interrupt` writes to it. */
  constructor(source: string, data: object, control: number, interrupt: () => void, onWake: () => void) {
    this.#interrupt = interrupt;
    this.#onWake = onWake;
    this.#fds[0] = 1;
    this.#fds[1] = control;
    this.#start = () => new Worker(source, { eval: true, workerData: { ...data, fds: this.#fds, state: this.#state } });
    process.on("exit", () => this.#end());
  }

  watch(handle: number, fd: number): void {
    this.#handles.set(handle, fd);
    this.#write();
    if (this.#worker) return;
    this.#worker = this.#start();
    this.#worker.on("message", () => {
      this.#onWake();
      Atomics.compareExchange(this.#state, 0, 1, 0);
      Atomics.notify(this.#state, 0);
    });
    // Engines say by themselves whether they keep the process alive.
    this.#worker.unref();
  }

  unwatch(handle: number): void {
    if (this.#handles.delete(handle)) this.#write();
  }

  #write(): void {
    const fds = [...this.#handles.values()].slice(0, MAX_FDS - 1);
    this.#fds.set(fds, 2);
    Atomics.store(this.#fds, 0, 1 + fds.length);
    this.#interrupt();
  }

  /** Ends the worker, which could not end within a call of `poll`. */
  #end(): void {
    Atomics.store(this.#state, 0, 2);
    Atomics.notify(this.#state, 0);
    this.#interrupt();
  }
}

/** The loop of a worker: `wait(bytes, count)` is `poll(2)` without a limit, `drain()` empties the eventfd. */
export const LOOP = `
const { fds, state } = workerData;
while (Atomics.load(state, 0) !== 2) {
  const count = Atomics.load(fds, 0);
  const entries = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    entries[2 * i] = fds[1 + i];
    entries[2 * i + 1] = 1; // POLLIN
  }
  wait(new Uint8Array(entries.buffer), count);
  if (entries[1] >> 16) drain();
  let ready = false;
  for (let i = 1; i < count; i++) ready ||= entries[2 * i + 1] >> 16 !== 0;
  if (!ready) continue;
  if (Atomics.compareExchange(state, 0, 0, 1) === 2) break;
  parentPort.postMessage(0);
  Atomics.wait(state, 0, 1);
}
`;
