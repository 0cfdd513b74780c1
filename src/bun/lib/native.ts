import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { ABI_VERSION } from "./abi.ts";
import type { Backend, Open } from "./backend/backend.ts";
import { QuicheError } from "./errors.ts";

/** The library's file: that of the environment variable `MIO_QUICHE_LIBRARY` (or in it), or of the package. */
function locate(): string {
  const given = process.env["MIO_QUICHE_LIBRARY"];
  if (given) {
    const path = existsSync(given) && statSync(given).isDirectory() ? join(given, "libmio_quiche.so") : given;
    if (existsSync(path)) return path;
    throw new QuicheError("ERR_MQ_LIBRARY", `MIO_QUICHE_LIBRARY names ${path}, which does not exist`);
  }
  const platform = `mio-quiche-${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${platform}/libmio_quiche.so`);
  } catch {
    throw new QuicheError(
      "ERR_MQ_LIBRARY",
      `the package ${platform} is not installed; install it, or set MIO_QUICHE_LIBRARY to the path of libmio_quiche.so`,
    );
  }
}

let wake = (): void => {};

/** Says what takes the events when the library wakes the program. */
export function setWake(take: () => void): void {
  wake = take;
}

async function load(): Promise<Backend> {
  const path = locate();
  let open: Open;
  if (process.versions["bun"]) ({ open } = await import("./backend/bun.ts"));
  else if (process.versions["deno"]) ({ open } = await import("./backend/deno.ts"));
  else ({ open } = await import("./backend/node.ts"));
  let backend: Backend;
  try {
    backend = await open(path, () => wake());
  } catch (error) {
    throw error instanceof QuicheError
      ? error
      : new QuicheError("ERR_MQ_LIBRARY", `cannot open ${path}: ${error instanceof Error ? error.message : error}`);
  }
  const version = backend.functions.mq_abi_version();
  if (version !== ABI_VERSION) {
    throw new QuicheError("ERR_MQ_LIBRARY", `${path} has version ${version} of the interface, not ${ABI_VERSION}`);
  }
  return backend;
}

/** The open library. Modules evaluate once: everything after them can use it without waiting. */
let loaded: Backend | QuicheError;
try {
  loaded = await load();
} catch (error) {
  loaded = error as QuicheError;
}

/** The library, or the reason why it could not be opened. */
export function backend(): Backend {
  if (loaded instanceof Error) throw loaded;
  return loaded;
}
