import type { Functions } from "../abi.ts";

/**
 * What a runtime has to offer: it opens the library, calls its functions, and wakes the program when an engine has
 * events. Bytes are passed as a `Uint8Array` or null.
 */
export interface Backend {
  readonly functions: Functions;
  /** What to pass as the parameter `wake`. */
  readonly wake: unknown;
  /** An engine was started; its events are to call `onWake`. */
  watch(handle: number): void;
  /** An engine is about to be stopped. */
  unwatch(handle: number): void;
}

/** Opens the library at `path`. `onWake` is called in the thread of JavaScript, at least once after each wake-up. */
export type Open = (path: string, onWake: () => void) => Promise<Backend>;
