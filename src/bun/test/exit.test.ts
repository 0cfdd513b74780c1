import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fetch } from "../lib/index.ts";
import { files } from "./setup.ts";

/** Starts the program. */
function start(mode: string, env: Record<string, string> = {}): ChildProcess {
  // Beside this file, compiled as it is.
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".mjs";
  const program = fileURLToPath(new URL(`./exit_program${extension}`, import.meta.url));
  const before = process.versions["deno"] ? ["run", "-A", "--no-check", "--no-lock", "--no-config"] : [];
  return spawn(process.execPath, [...before, program, mode], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", env["MIO_QUICHE_LIBRARY"] ? "pipe" : "inherit"],
  });
}

/** Starts the program, and returns it with the line that it prints when all is done but the end. */
async function run(mode: string): Promise<[ChildProcess, string]> {
  const child = start(mode);
  const [line] = await once(child.stdout!, "data");
  return [child, String(line).trim()];
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, "exit");
  return child.exitCode;
}

for (const mode of ["stop", "unref"]) {
  test(`a process ends by itself after ${mode}`, async () => {
    const [child] = await run(mode);
    assert.equal(await exitCode(child), 0);
  });
}

test("a server keeps its process alive until it has stopped", async () => {
  const [child, url] = await run("alive");
  assert.equal(await (await fetch(url, { insecure: true })).text(), "x");
  assert.equal(child.exitCode, null);
  await fetch(url, { method: "POST", body: "stop", insecure: true });
  assert.equal(await exitCode(child), 0);
});

test("a library that is missing, or is none, is an error with a code and a sentence", async () => {
  const cases: [string, RegExp][] = [
    ["/nowhere/libmio_quiche.so", /MIO_QUICHE_LIBRARY names \/nowhere\/libmio_quiche\.so, which does not exist/],
    [files.cert, /cannot open .*cert\.pem/],
  ];
  for (const [path, sentence] of cases) {
    const child = start("stop", { MIO_QUICHE_LIBRARY: path });
    let told = "";
    child.stderr!.on("data", (data) => (told += data));
    await once(child, "close");
    assert.notEqual(child.exitCode, 0);
    assert.match(told, sentence);
    assert.match(told, /ERR_MQ_LIBRARY/);
  }
});
