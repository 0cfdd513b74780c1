import { execFile, execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { serve, type Server } from "../lib/index.ts";
import type { Handlers } from "../lib/serve.ts";

const dir = mkdtempSync(join(tmpdir(), "mio-quiche-"));

/** The files of a certificate for `localhost` and `127.0.0.1`. */
export const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };

const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "10"];
execFileSync(
  "openssl",
  ["req", "-x509", ...curve, "-subj", "/CN=localhost", "-addext", names, "-keyout", files.key, "-out", files.cert],
  { stdio: "ignore" },
);

export const pem = { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
export const trust = { caFile: files.cert };
export const hash = createHash("sha256").update(new X509Certificate(pem.cert).raw).digest();

/** Runs a test with a server, which is stopped behind it. */
export async function withServer(
  handlers: Handlers,
  test: (origin: string, server: Server) => Promise<void>,
): Promise<void> {
  const server = serve({ port: 0, hostname: "127.0.0.1", ...files, ...handlers });
  try {
    await test(server.url.origin, server);
  } finally {
    await server.stop(true);
  }
}

/** Runs curl with HTTP/3; returns what it printed. */
export async function curl(...args: string[]): Promise<string> {
  const program = process.env["MIO_QUICHE_CURL"] ?? "curl";
  const fixed = ["-q", "-sS", "--cacert", files.cert, "--http3-only", "--max-time", "30"];
  return (await promisify(execFile)(program, [...fixed, ...args], { maxBuffer: 2 ** 28 })).stdout;
}

export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** All bytes of a stream. */
export async function all(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export const text = (data: Uint8Array): string => new TextDecoder().decode(data);
export const bytes = (data: string): Uint8Array => new TextEncoder().encode(data);
