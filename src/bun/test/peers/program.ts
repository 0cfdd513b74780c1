import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The repository. */
export const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** A program that `scripts/bun` installs. */
export function tool(variable: string): string {
  const path = process.env[variable];
  if (!path) throw new Error(`${variable} is not set: run scripts/bun, which installs the peers and sets it`);
  return path;
}

/** What a program printed, and its exit code. */
export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

function gather(stream: NodeJS.ReadableStream): () => string {
  const chunks: Uint8Array[] = [];
  stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

/** Runs a program to its end. */
export async function run(program: string, args: string[], env: Record<string, string> = {}): Promise<Output> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const stdout = gather(child.stdout);
  const stderr = gather(child.stderr);
  await once(child, "close");
  return { code: child.exitCode, stdout: stdout(), stderr: stderr() };
}

/** A program that runs until it is stopped, and prints lines. */
export class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: () => string;
  readonly #closed: Promise<unknown>;

  constructor(program: string, args: string[], env: Record<string, string> = {}) {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    this.#errors = gather(child.stderr);
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.#closed = once(child, "close");
  }

  /** The next line that it prints. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#child.spawnfile} has ended: ${this.#errors()}`);
    return value;
  }

  write(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** Ends its standard input, and waits for its own end. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#closed;
  }
}
