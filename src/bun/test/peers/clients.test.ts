import assert from "node:assert/strict";
import { createReadStream, createWriteStream, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { files } from "../setup.ts";
import { type Output, run, tool } from "./program.ts";
import { DIGEST, digest, payload, SIZE, Site } from "./site.ts";

const dir = mkdtempSync(join(tmpdir(), "mio-quiche-"));

/** A file of 100 MB. */
const large = join(dir, "large");
await pipeline(Readable.from(payload(SIZE)), createWriteStream(large));

const fileOf = (name: string): string => readFileSync(join(dir, name), "utf8");

/** Bytes and SHA-256 of what was downloaded. */
const digestOf = (name: string): Promise<[number, string]> => digest(createReadStream(join(dir, name)));

function curl(...args: string[]): Promise<Output> {
  const fixed = ["-q", "-sS", "--cacert", files.cert, "--http3-only", "--max-time", "300"];
  return run(tool("MIO_QUICHE_CURL"), [...fixed, ...args]);
}

/** Runs gtlsclient, which puts what it gets into files; gives its exit code and the lines of its log on HTTP. */
async function gtlsclient(site: Site, paths: string[], ...args: string[]): Promise<[number | null, string[]]> {
  const fixed = ["--no-quic-dump", "--no-http-dump", "--download", dir, ...args];
  const urls = paths.map((path) => site.url(path));
  const program = tool("MIO_QUICHE_GTLSCLIENT");
  const { code, stderr } = await run(program, [...fixed, "127.0.0.1", String(site.server.port), ...urls]);
  return [code, stderr.split("\n").filter((line) => /^http:|^HTTP/.test(line))];
}

test("curl gets answers", async () => {
  await using site = new Site();
  const status = ["-w", "%{http_version} %{http_code} %{content_type}"];
  assert.equal((await curl(...status, site.url("/"))).stdout, "Hello from Bun!\n3 200 text/plain");
  assert.equal((await curl(...status, site.url("/nowhere"))).stdout, "not here\n3 404 ");
});

test("curl downloads 100 MB with a trailer field, and uploads them", async () => {
  await using site = new Site();
  const { code, stderr } = await curl("-D", join(dir, "head"), "-o", join(dir, "data"), site.url("/data"));
  assert.deepEqual([code, stderr], [0, ""]);
  assert.deepEqual(await digestOf("data"), DIGEST);
  // Behind the empty line that ends the header fields.
  assert.equal(fileOf("head").split("\r\n\r\n")[1], `x-checksum: ${DIGEST[1]}\r\n`);
  assert.equal((await curl("-T", large, site.url("/upload"))).stdout, JSON.stringify(["PUT", ...DIGEST]));
});

test("curl gives a response up, and is told when the server does", async () => {
  await using site = new Site();
  const { code } = await curl("--max-filesize", "500000", "-o", join(dir, "waiting"), site.url("/waiting"));
  assert.equal(code, 63);
  assert.equal((await site.aborted.promise).code, "ERR_MQ_CANCELLED");
  const failed = await curl("-o", join(dir, "failing"), site.url("/failing"));
  assert.equal(failed.code, 18);
  assert.match(failed.stderr, /reset by server \(error 0x102 INTERNAL_ERROR\)/);
});

/** It prints bodies, and tells nothing else. */
test("quiche's client gets answers, and 100 MB", async () => {
  await using site = new Site();
  const get = (path: string): Promise<Output> => run(tool("MIO_QUICHE_HTTP3_CLIENT"), [site.url(path)]);
  assert.equal((await get("/")).stdout, "Hello from Bun!\n");
  assert.equal((await get("/nowhere")).stdout, "not here\n");
  const { code, stdout } = await get("/data");
  assert.equal(code, 0);
  assert.deepEqual(await digest([new TextEncoder().encode(stdout)]), DIGEST);
});

test("gtlsclient gets answers and a trailer field", async () => {
  await using site = new Site();
  const [code, log] = await gtlsclient(site, ["/", "/nowhere", "/trailer"], "--exit-on-all-streams-close");
  assert.equal(code, 0);
  assert.deepEqual(["index.html", "nowhere", "trailer"].map(fileOf), ["Hello from Bun!\n", "not here\n", "before it\n"]);
  const lines = ["0x0 [:status: 200]", "0x4 [:status: 404]", "0x8 [:status: 200]", "0x8 [x-after: the body]"];
  for (const line of lines) assert.ok(log.includes(`http: stream ${line}`), `${line} in\n${log.join("\n")}`);
});

test("gtlsclient downloads 100 MB and uploads them", async () => {
  await using site = new Site();
  const end = ["-q", "--exit-on-all-streams-close"];
  assert.deepEqual(await gtlsclient(site, ["/data"], ...end), [0, []]);
  assert.deepEqual(await digestOf("data"), DIGEST);
  assert.deepEqual(await gtlsclient(site, ["/upload"], ...end, "-m", "PUT", "-d", large), [0, []]);
  assert.equal(fileOf("upload"), JSON.stringify(["PUT", ...DIGEST]));
});

test("gtlsclient closes its connection, and is told when the server gives a response up", async () => {
  await using site = new Site();
  // "/" ends the connection.
  assert.deepEqual(await gtlsclient(site, ["/waiting", "/"], "-q", "--exit-on-first-stream-close"), [0, []]);
  const { code, message } = await site.aborted.promise;
  assert.deepEqual([code, message], ["ERR_MQ_CANCELLED", "the connection ended"]);
  const [, log] = await gtlsclient(site, ["/failing"], "--exit-on-all-streams-close");
  assert.equal(log.at(-1), "HTTP stream 0 closed with error code 258");
});
