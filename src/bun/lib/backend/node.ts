import { createRequire } from "node:module";
import { FUNCTIONS, type Functions, type Parameter } from "../abi.ts";
import { QuicheError } from "../errors.ts";
import type { Backend } from "./backend.ts";
import { LOOP, Poller } from "./poller.ts";

const TYPES: Record<Parameter, string> = {
  u32: "uint32_t",
  i32: "int32_t",
  u64: "uint64_t",
  in: "const uint8_t *",
  out: "uint8_t *",
  wake: "void *",
};

const SOURCE = `
const { parentPort, workerData } = require("node:worker_threads");
const koffi = require(workerData.koffi);
const libc = koffi.load("libc.so.6");
const poll = libc.func("int poll(uint8_t *fds, unsigned long count, int timeout)");
const read = libc.func("long read(int fd, uint8_t *data, size_t len)");
const wait = (bytes, count) => poll(bytes, count, -1);
const drain = () => read(workerData.fds[1], new Uint8Array(8), 8);
${LOOP}`;

/** Node, by the package `koffi`. Its callbacks make the calling thread wait, so a worker waits for descriptors. */
export async function open(path: string, onWake: () => void): Promise<Backend> {
  const require = createRequire(import.meta.url);
  let koffiPath: string;
  try {
    koffiPath = require.resolve("koffi");
  } catch {
    throw new QuicheError("ERR_MQ_LIBRARY", "Node needs the package koffi beside mio-quiche: npm install koffi");
  }
  const koffi = require(koffiPath);
  const library = koffi.load(path);
  const functions = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, parameters]) => {
      return [name, library.func(name, "int32_t", (parameters as Parameter[]).map((type) => TYPES[type]))];
    }),
  ) as unknown as Functions;
  const libc = koffi.load("libc.so.6");
  const eventfd = libc.func("int eventfd(unsigned int start, int flags)");
  const write = libc.func("long write(int fd, const uint8_t *data, size_t len)");
  // EFD_CLOEXEC and EFD_NONBLOCK.
  const control = eventfd(0, 0o2004000);
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  const poller = new Poller(SOURCE, { koffi: koffiPath }, control, () => write(control, one, 8), onWake);
  return {
    functions,
    wake: null,
    watch: (handle) => poller.watch(handle, functions.mq_fd(handle)),
    unwatch: (handle) => poller.unwatch(handle),
  };
}
