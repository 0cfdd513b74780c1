// Checked by tsc, never run: the implementation has what index.d.ts declares, and exports nothing more.
import type * as declared from "../index.js";
import type * as built from "../lib/index.ts";

type Declared = typeof declared;
type Built = typeof built;

/** Requires that a `U` can be used as a `T`. */
type Is<T, U extends T> = U;

export type Checks = [
  Is<Pick<Declared, "fetch" | "trailersOf" | "withTrailers">, Built>,
  Is<(options: declared.ServeOptions) => declared.Server, Built["serve"]>,
  Is<Declared["Server"]["prototype"], Built["Server"]["prototype"]>,
  Is<Declared["ServerSession"]["prototype"], Built["ServerSession"]["prototype"]>,
  Is<Declared["QuicheError"]["prototype"], Built["QuicheError"]["prototype"]>,
  Is<Declared["WebTransport"]["prototype"], Built["WebTransport"]["prototype"]>,
  Is<Declared["WebTransportError"]["prototype"], Built["WebTransportError"]["prototype"]>,
  Is<keyof Declared, keyof Built>,
  Is<keyof Built, keyof Declared>,
];
