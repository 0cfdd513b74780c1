/** What is used of Bun's module; all of Bun's types would hide what Node and Deno lack. */
declare module "bun:ffi" {
  export const FFIType: Record<"u32" | "i32" | "u64" | "ptr" | "void", number>;
  export function dlopen(path: string, symbols: Record<string, unknown>): { symbols: Record<string, unknown> };
  export class JSCallback {
    constructor(callback: () => void, definition: { args: number[]; returns: number; threadsafe: boolean });
    readonly ptr: number;
  }
}
