import { FUNCTIONS, type Functions, type Parameter } from "../abi.ts";
import type { Backend } from "./backend.ts";

/** `bun:ffi`. A `JSCallback` for all engines takes the wake-ups: `threadsafe` ones do not wait for JavaScript. */
export async function open(path: string, onWake: () => void): Promise<Backend> {
  // Other runtimes and their bundlers do not know the module.
  const { dlopen, FFIType, JSCallback } = await import("bun:ffi");
  const types: Record<Parameter, unknown> = {
    u32: FFIType.u32,
    i32: FFIType.i32,
    u64: FFIType.u64,
    in: FFIType.ptr,
    out: FFIType.ptr,
    wake: FFIType.ptr,
  };
  const declared = Object.entries(FUNCTIONS).map(([name, parameters]) => {
    return [name, { args: (parameters as Parameter[]).map((type) => types[type]), returns: FFIType.i32 }];
  });
  const { symbols } = dlopen(path, Object.fromEntries(declared));
  // Never closed: a wake-up may be under way at any time.
  const callback = new JSCallback(onWake, { args: [], returns: FFIType.void, threadsafe: true });
  return { functions: symbols as unknown as Functions, wake: callback.ptr, watch() {}, unwatch() {} };
}
