import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { hash, pem } from "../setup.ts";
import { Program, root, tool } from "./program.ts";
import { DIGEST, digest, Site } from "./site.ts";

/** How long a case may take in the page, in milliseconds. */
const DEADLINE = 180_000;

/** A browser, driven by the script of our other tests, whose cases are in tests/it/browser/page.js. */
class Browser implements AsyncDisposable {
  readonly #program: Program;
  /** Where its pages are from. */
  readonly origin: string;

  private constructor(program: Program, origin: string) {
    this.#program = program;
    this.origin = origin;
  }

  static async start(name: "chromium" | "firefox", ...options: string[]): Promise<Browser> {
    for (const variable of ["CHROMIUM", "FIREFOX", "NODE_MODULES"]) tool(`MIO_QUICHE_${variable}`);
    const program = new Program(tool("MIO_QUICHE_NODE"), [`${root}tests/it/browser/${name}.mjs`, ...options]);
    return new Browser(program, JSON.parse(await program.line()).origin);
  }

  /** Runs a case in a new page, which is from `at`, and gives what it saw. */
  async run(name: string, args: object, at?: string): Promise<unknown> {
    this.#program.write(JSON.stringify({ name, at, args: { ...args, deadline: DEADLINE } }));
    const { result, error } = JSON.parse(await this.#program.line());
    if (error) throw new Error(error);
    return result;
  }

  /** Its driver ends it; killed at once it would leave the browser behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.end();
  }
}

/** Bytes of the page's payload and their SHA-256. */
const page = (size: number): Promise<[number, string]> => digest([new Uint8Array(size).map((_, n) => n % 251)]);

const sorted = <T>(items: T[]): T[] => items.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** What a browser's sessions do, in pages of the driver's or from `at`. */
async function sessions(browser: Browser, site: Site, isFirefox: boolean, at?: string): Promise<void> {
  const run = (name: string, path: string, args: object = {}): Promise<unknown> =>
    browser.run(name, { url: site.url(path), hash: hash.toString("hex"), ...args }, at);

  const datagrams = await run("datagrams", "/wt/echo", { count: 100 });
  assert.deepEqual(datagrams, { seen: 100, damaged: 0, largest: true });
  for (const size of [0, 1, 1 << 20]) {
    assert.deepEqual(await run("bidi", "/wt/echo", { size }), await page(size));
  }
  const sizes = [1, 1000, 1 << 20, 0];
  assert.deepEqual(await run("uni", "/wt/echo", { sizes }), await Promise.all(sizes.map(page)));
  assert.equal(await run("manyStreams", "/wt/echo", { count: 100, atOnce: 10 }), 100);
  const lines = (await run("serverBidi", "/wt/echo?open=10", { count: 10 })) as string[];
  const expected = Array.from({ length: 10 }, (_, n) => `server stream ${n}\nreply to server stream ${n}\n`);
  assert.deepEqual(sorted(lines), expected);

  // Their codes are of a byte, as in the draft's older versions.
  const codes = [0, 42, 139, 255];
  const seen = (await run("resets", "/wt/echo", { codes, stops: !isFirefox })) as Record<string, unknown>[];
  for (const [n, one] of seen.entries()) {
    // Firefox does not send STOP_SENDING, and has mostly no code for a stream that it has reset itself. Chromium has
    // sometimes none if STOP_SENDING comes in a packet of its own, right behind the reset of the other direction.
    const [which, none]: [string, string] = isFirefox ? ["reset", "TypeError"] : ["stopped", "NetworkError"];
    if (one[which] === none) one[which] = codes[n];
  }
  const stopped = (code: number): unknown => (isFirefox ? false : code);
  assert.deepEqual(
    seen,
    codes.map((code) => ({ reset: code, stopped: stopped(code), answered: code, after: true })),
  );

  const refused = ["WebTransportError", "session"];
  for (const path of ["/wt/reject", "/wt/nowhere"]) assert.deepEqual(await run("refused", path), [refused, refused]);

  const closes: [number, string][] = [[0, ""], [1, "à plus 🌍"], [2 ** 32 - 1, "largest"], [7, "x".repeat(1024)]];
  const byPage = closes.map(([closeCode, reason]) => ({ closeCode, reason }));
  assert.deepEqual(await run("closesOfPage", "/wt/noted", { closes: byPage }), closes);
  assert.deepEqual(sorted(await site.closes(closes.length)), closes);
  const query = ([code, reason]: [number, string]) => new URLSearchParams({ code: String(code), reason });
  const urls = closes.map((close) => site.url(`/wt/close?${query(close)}`));
  assert.deepEqual(await run("closesOfServer", "/", { urls }), closes);
  assert.deepEqual(sorted(await site.closes(closes.length)), closes);
}

test("Firefox's sessions have datagrams, streams and closes", async () => {
  await using firefox = await Browser.start("firefox");
  await using site = new Site([firefox.origin]);
  await sessions(firefox, site, true);
});

test("Chromium gets pages and 100 MB, sends them, and has sessions", async () => {
  await using site = new Site();
  const key = new X509Certificate(pem.cert).publicKey.export({ type: "spki", format: "der" });
  await using chromium = await Browser.start(
    "chromium",
    `--origin-to-force-quic-on=localhost:${site.server.port}`,
    `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`,
    "--host-resolver-rules=MAP localhost 127.0.0.1",
  );
  const load = (path: string): Promise<unknown> => chromium.run("load", {}, site.url(path));
  const evaluate = (script: string): Promise<unknown> =>
    chromium.run("evaluate", { script: `(async () => { ${script} })()` }, site.url("/"));
  assert.deepEqual(await load("/"), [200, "h3", "Hello from Bun!\n"]);
  assert.deepEqual(await load("/nowhere"), [404, "h3", "not here\n"]);

  // Without trailers: if they come before the page has read the body, Chromium takes its end for that of the connection.
  const moved = await evaluate(`
    const body = await (await fetch("/plain-data")).arrayBuffer();
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", body)).toHex();
    const answer = await fetch("/upload", { method: "POST", body });
    return [body.byteLength, sum, await answer.json()];
  `);
  assert.deepEqual(moved, [...DIGEST, ["POST", ...DIGEST]]);

  const aborted = await evaluate(`
    const controller = new AbortController();
    const reader = (await fetch("/waiting", { signal: controller.signal })).body.getReader();
    await reader.read();
    controller.abort();
    return reader.read().then(() => "no error", (error) => error.name);
  `);
  assert.equal(aborted, "AbortError");
  const { code, message } = await site.aborted.promise;
  assert.deepEqual([code, message], ["ERR_MQ_CANCELLED", "the client does not want the response any more"]);
  const failed = await evaluate(`
    const answer = await fetch("/failing");
    return [answer.status, await answer.text().catch((error) => error.name)];
  `);
  assert.deepEqual(failed, [200, "TypeError"]);

  await sessions(chromium, site, false, site.url("/"));
});
