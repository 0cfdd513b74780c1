import { FUNCTIONS, type Functions, type Parameter } from "../abi.ts";
import type { Backend } from "./backend.ts";
import { LOOP, Poller } from "./poller.ts";

/** What is used of Deno; its own types are not those of Bun and Node. */
declare const Deno: {
  dlopen(path: string, symbols: Record<string, unknown>): { symbols: Record<string, (...values: unknown[]) => number> };
};

const TYPES: Record<Parameter, string> = {
  u32: "u32",
  i32: "i32",
  u64: "u64",
  in: "buffer",
  out: "buffer",
  wake: "pointer",
};

const SOURCE = `
const { parentPort, workerData } = require("node:worker_threads");
const { symbols } = Deno.dlopen("libc.so.6", {
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
});
const wait = (bytes, count) => symbols.poll(bytes, count, -1);
const drain = () => symbols.read(workerData.fds[1], new Uint8Array(8), 8);
${LOOP}`;

/** Deno. Its callbacks make the calling thread wait, so a worker waits for descriptors. */
export async function open(path: string, onWake: () => void): Promise<Backend> {
  const declared = Object.entries(FUNCTIONS).map(([name, parameters]) => {
    return [name, { parameters: (parameters as Parameter[]).map((type) => TYPES[type]), result: "i32" }];
  });
  const functions = Deno.dlopen(path, Object.fromEntries(declared)).symbols as unknown as Functions;
  const libc = Deno.dlopen("libc.so.6", {
    eventfd: { parameters: ["u32", "i32"], result: "i32" },
    write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  }).symbols;
  // EFD_CLOEXEC and EFD_NONBLOCK.
  const control = libc["eventfd"]!(0, 0o2004000);
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  const poller = new Poller(SOURCE, {}, control, () => libc["write"]!(control, one, 8), onWake);
  return {
    functions,
    wake: null,
    watch: (handle) => poller.watch(handle, functions.mq_fd(handle)),
    unwatch: (handle) => poller.unwatch(handle),
  };
}
