import { deferred, type Deferred } from "./deferred.ts";
import { argumentError } from "./errors.ts";

type Source = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

const toSend = new WeakMap<object, Source>();
const received = new WeakMap<object, Deferred<Headers>>();

function message(value: unknown): object {
  if (value instanceof Request || value instanceof Response) return value;
  throw argumentError("trailers belong to a Request or a Response");
}

/**
 * Adds trailer fields to a message that will be sent, or a function that says them after the body.
 * Returns the message.
 */
export function withTrailers<T extends Request | Response>(value: T, trailers: Source): T {
  toSend.set(message(value), typeof trailers === "function" ? trailers : new Headers(trailers));
  return value;
}

/** The trailer fields of a message that was received. Resolves at its end, with no fields if there were none. */
export function trailersOf(value: Request | Response): Promise<Headers> {
  return received.get(message(value))?.promise ?? Promise.resolve(new Headers());
}

/** Says where the trailer fields of a received message come from. */
export function expectTrailers(value: object): Deferred<Headers> {
  const expected = deferred<Headers>();
  received.set(value, expected);
  return expected;
}

/** Sends the trailer fields of `from` behind `to`, which replaces it. */
export function moveTrailers(from: object, to: object): void {
  const source = toSend.get(from);
  if (source) toSend.set(to, source);
}

export function hasTrailers(value: object): boolean {
  return toSend.has(value);
}

/** The trailer fields to send behind a message. */
export async function trailersFor(value: object): Promise<Headers> {
  const source = toSend.get(value);
  return new Headers(typeof source === "function" ? await source() : source);
}
