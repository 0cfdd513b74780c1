/** A promise with its ends, which Node has since 22 only. */
export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let ends!: Omit<Deferred<T>, "promise">;
  const promise = new Promise<T>((resolve, reject) => (ends = { resolve: resolve as (value: T) => void, reject }));
  // Whoever waits for it gets the reason; it is not an error that nobody does.
  promise.catch(() => {});
  return { promise, ...ends };
}
