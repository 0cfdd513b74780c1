import { Buffer } from "node:buffer";
import { argumentError } from "./errors.ts";

/** Fields that HTTP/3 does not have (RFC 9114, section 4.2). */
const CONNECTION_FIELDS = new Set([
  "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade",
]);

const utf8 = new TextEncoder();

/** Encodes header fields as `name NUL value NUL`, after `first`. */
export function encodeFields(headers: Iterable<[string, string]>, skip?: (name: string) => boolean): Uint8Array | null {
  let text = "";
  for (const [name, value] of headers) {
    if (CONNECTION_FIELDS.has(name) || skip?.(name)) continue;
    text += `${name}\0${value}\0`;
  }
  // A value of `Headers` is a byte string.
  return text === "" ? null : Buffer.from(text, "latin1");
}

/** Decodes fields to pairs. */
export function decodeFields(section: Uint8Array): [string, string][] {
  const text = Buffer.from(section.buffer, section.byteOffset, section.byteLength).toString("latin1");
  const parts = text.split("\0");
  const fields: [string, string][] = [];
  for (let i = 0; i + 1 < parts.length; i += 2) fields.push([parts[i]!, parts[i + 1]!]);
  return fields;
}

/** A value of a setting. */
export type Setting = string | number | boolean;

/** Settings by name; several values of one are an array. */
export type Settings = Record<string, Setting | readonly Setting[] | undefined>;

/** Settings in an order. A name may come again. */
export type SettingPairs = [name: string, value: Setting | readonly Setting[] | undefined][];

/** Encodes settings. A switch is a boolean, and what is undefined is left out. */
export function encodeSettings(settings: SettingPairs): Uint8Array {
  let text = "";
  for (const [name, values] of settings) {
    if (values === undefined) continue;
    for (const value of Array.isArray(values) ? (values as Setting[]) : [values as Setting]) {
      if (!["string", "number", "boolean"].includes(typeof value)) {
        throw argumentError(`the setting ${name} is a ${typeof value}, but must be a string, a number or a boolean`);
      }
      const written = typeof value === "boolean" ? (value ? "on" : "off") : String(value);
      if (name.includes("\0") || written.includes("\0")) {
        throw argumentError(`the setting ${JSON.stringify(name)} contains a NUL`);
      }
      text += `${name}\0${written}\0`;
    }
  }
  return utf8.encode(text);
}
