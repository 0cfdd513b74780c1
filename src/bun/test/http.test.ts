import assert from "node:assert/strict";
import { test } from "node:test";
import { fetch, serve, trailersOf, withTrailers } from "../lib/index.ts";
import { curl, files, pem, sha256, trust, withServer } from "./setup.ts";

const MIB = 1024 * 1024;

test("a response of a fetch handler arrives whole, with its content-length", async () => {
  const handler = ({ method, url }: Request) => new Response(`${method} ${new URL(url).pathname}`, { status: 201 });
  await withServer({ fetch: handler }, async (origin) => {
    const response = await fetch(`${origin}/a?b`, trust);
    assert.equal(response.status, 201);
    assert.equal(response.url, `${origin}/a?b`);
    assert.equal(response.headers.get("content-length"), "6");
    assert.equal(await response.text(), "GET /a");
    assert.equal(await curl(`${origin}/c`), "GET /c");
    assert.match(await curl("-I", origin), /^HTTP\/3 201/);
  });
});

test("bodies stream both ways, unchanged", async () => {
  const body = new Uint8Array(8 * MIB).map((_, i) => (i * 31) % 251);
  await withServer({ fetch: (request) => new Response(request.body) }, async (origin) => {
    const response = await fetch(origin, { method: "POST", body, ...trust });
    assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), sha256(body));
    let sent = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent === body.length) controller.close();
        else controller.enqueue(body.slice(sent, (sent += MIB)));
      },
    });
    const streamed = await fetch(origin, { method: "POST", body: stream, ...trust });
    assert.equal(sha256(new Uint8Array(await streamed.arrayBuffer())), sha256(body));
  });
});

test("a response that nobody reads stops its producer", async () => {
  let produced = 0;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      async pull(controller) {
        produced++;
        await new Promise((resolve) => setTimeout(resolve, 0));
        controller.enqueue(new Uint8Array(MIB));
      },
    });
  await withServer({ fetch: () => new Response(endless()) }, async (origin) => {
    const response = await fetch(origin, trust);
    const deadline = Date.now() + 10_000;
    for (let before = -1; before !== produced; ) {
      before = produced;
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.ok(Date.now() < deadline, "the producer did not stop");
    }
    assert.ok(produced < 32, `${produced} MiB were produced`);
    await response.body?.cancel();
  });
});

test("a body that is not over ends with its response on both sides", async () => {
  let late!: Promise<unknown>;
  const handler = async ({ body }: Request): Promise<Response> => {
    const reader = body!.getReader();
    await reader.read();
    late = reader.read();
    late.catch(() => {});
    return new Response("enough");
  };
  await withServer({ fetch: handler }, async (origin) => {
    let cancel!: (reason: unknown) => void;
    const cancelled = new Promise<unknown>((resolve) => (cancel = resolve));
    const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array(1)), cancel });
    const response = await fetch(origin, { method: "POST", body, ...trust });
    assert.equal(await response.text(), "enough");
    assert.ok(["ERR_MQ_GONE", "ERR_MQ_STOPPED"].includes(((await cancelled) as { code: string }).code));
    await assert.rejects(late, { code: "ERR_MQ_GONE" });
  });
});

test("a client that aborts aborts the signal of the request, and its own promise", async () => {
  let seen!: (reason: unknown) => void;
  const aborted = new Promise((resolve) => (seen = resolve));
  let arrived!: () => void;
  const arrival = new Promise<void>((resolve) => (arrived = resolve));
  const handler = (request: Request) =>
    new Promise<Response>(() => {
      request.signal.addEventListener("abort", () => seen(request.signal.reason));
      arrived();
    });
  await withServer({ fetch: handler }, async (origin) => {
    const controller = new AbortController();
    const response = fetch(origin, { signal: controller.signal, ...trust });
    response.catch(() => {});
    await arrival;
    controller.abort(new Error("enough"));
    await assert.rejects(response, /enough/);
    assert.equal((await aborted as { code: string }).code, "ERR_MQ_CANCELLED");
  });
});

test("trailers go both ways", async () => {
  let received: string | null = null;
  const handler = async (request: Request) => {
    await request.arrayBuffer();
    received = (await trailersOf(request)).get("sum");
    return withTrailers(new Response("body"), () => ({ checksum: "9" }));
  };
  await withServer({ fetch: handler }, async (origin) => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(3));
        controller.close();
      },
    });
    const request = new Request(origin, { method: "POST", body, duplex: "half" } as RequestInit);
    const response = await fetch(withTrailers(request, { sum: "3" }), trust);
    assert.equal(await response.text(), "body");
    assert.equal((await trailersOf(response)).get("checksum"), "9");
    assert.equal(received, "3");
  });
});

test("the address of a client is known", async () => {
  await withServer({ fetch: (request, server) => Response.json(server.requestIP(request)) }, async (origin) => {
    const address = (await (await fetch(origin, trust)).json()) as { address: string; family: string; port: number };
    assert.deepEqual([address.address, address.family], ["127.0.0.1", "IPv4"]);
    assert.ok(address.port > 0);
  });
});

test("several certificates, and fields that repeat", async () => {
  const fields: [string, string][] = [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["connection", "close"]];
  const handler = () => new Response(null, { status: 204, headers: fields });
  const certificates = { cert: [files.cert, pem.cert], key: [files.key, pem.key] };
  const server = serve({ port: 0, hostname: "127.0.0.1", ...certificates, fetch: handler });
  const response = await fetch(server.url, trust);
  assert.deepEqual([response.status, response.body], [204, null]);
  assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
  assert.equal(response.headers.get("connection"), null);
  await server.stop(true);
});

test("a redirect is followed, and can be left alone", async () => {
  const handler = ({ method, url }: Request) => {
    if (new URL(url).pathname === "/to") return new Response(method);
    return new Response(null, { status: 303, headers: { location: "/to" } });
  };
  await withServer({ fetch: handler }, async (origin) => {
    const response = await fetch(origin, { method: "POST", body: "x", ...trust });
    assert.equal(await response.text(), "GET");
    assert.deepEqual([response.url, response.redirected], [`${origin}/to`, true]);
    assert.equal((await fetch(origin, { redirect: "manual", ...trust })).status, 303);
    await assert.rejects(fetch(origin, { redirect: "error", ...trust }), TypeError);
  });
});

test("a handler that throws is a 500, or what the error handler says", async () => {
  const fails = () => {
    throw new Error("no");
  };
  const error = (reason: unknown) => new Response(`sorry: ${(reason as Error).message}`, { status: 503 });
  await withServer({ fetch: fails, error }, async (origin) => {
    const response = await fetch(origin, trust);
    assert.deepEqual([response.status, await response.text()], [503, "sorry: no"]);
  });
});

test("a body that fails resets the response", async () => {
  const body = () =>
    new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(10)),
      pull: async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        throw new Error("no");
      },
    }, { highWaterMark: 0 });
  await withServer({ fetch: () => new Response(body()) }, async (origin) => {
    await assert.rejects(fetch(origin, trust).then((response) => response.text()));
  });
});

test("reload replaces handlers", async () => {
  await withServer({ fetch: () => new Response("old") }, async (origin, server) => {
    assert.equal(await (await fetch(origin, trust)).text(), "old");
    await server.reload({ fetch: () => new Response("new") });
    assert.equal(await (await fetch(origin, trust)).text(), "new");
    assert.match(await server.metrics(), /# TYPE/);
    assert.equal(typeof (await server.stats()), "object");
  });
});

test("stop lets requests end, also from a handler", async () => {
  const server = serve({
    port: 0,
    hostname: "127.0.0.1",
    ...pem,
    fetch: async () => {
      void server.stop();
      await new Promise((resolve) => setTimeout(resolve, 50));
      return new Response("last");
    },
  });
  assert.equal(await (await fetch(server.url, trust)).text(), "last");
  await server.stop();
  await assert.rejects(fetch(server.url, { ...trust, settings: { connect_timeout: 500 } }), TypeError);
});

test("bad options are errors with a code and a sentence", async () => {
  const good = { port: 0, hostname: "127.0.0.1", ...files, fetch: () => new Response("x") };
  const cases: [object, string, RegExp][] = [
    [{ port: -1 }, "ERR_MQ_ARGUMENT", /port must be/],
    [{ port: 2 ** 40 }, "ERR_MQ_ARGUMENT", /port must be/],
    [{ port: "x" }, "ERR_MQ_ARGUMENT", /port must be/],
    [{ fetch: 1 }, "ERR_MQ_ARGUMENT", /fetch must be a function/],
    [{ fetch: undefined }, "ERR_MQ_ARGUMENT", /needs fetch/],
    [{ cert: "/nowhere.pem" }, "ERR_MQ_CONFIG", /nowhere/],
    [{ cert: pem.cert }, "ERR_MQ_ARGUMENT", /both/],
    [{ hostname: "a\0b" }, "ERR_MQ_ARGUMENT", /NUL/],
    [{ hostname: "nonsense" }, "ERR_MQ_CONFIG", /listen is/],
    [{ cert: [files.cert, files.cert] }, "ERR_MQ_ARGUMENT", /in pairs/],
    [{ settings: { idle: 1 } }, "ERR_MQ_CONFIG", /no setting "idle"/],
    [{ settings: { idle_timeout: {} } }, "ERR_MQ_ARGUMENT", /idle_timeout is a object/],
    [{ webtransport: { a: {} } }, "ERR_MQ_ARGUMENT", /begin with a slash/],
    [{ webtransport: { "/": { open: 3 } } }, "ERR_MQ_ARGUMENT", /open of \/ must be/],
  ];
  for (const [bad, code, sentence] of cases) {
    assert.throws(
      () => serve({ ...good, ...bad } as never),
      (error: Error & { code: string }) => error.code === code && sentence.test(error.message),
      JSON.stringify(bad),
    );
  }
  await assert.rejects(fetch("http://localhost/"), { code: "ERR_MQ_ARGUMENT" });
  await assert.rejects(fetch("https://localhost:1/", { settings: { connect_timeout: 500 } }), TypeError);
});

test("a second server on the port is an error", async () => {
  await withServer({ fetch: () => new Response("x") }, async (_, server) => {
    assert.throws(
      () => serve({ port: server.port, hostname: "127.0.0.1", ...files, fetch: () => new Response("y") }),
      { code: "ERR_MQ_SYSTEM" },
    );
  });
});

test("a certificate that is not trusted is an error", async () => {
  await withServer({ fetch: () => new Response("x") }, async (origin) => {
    await assert.rejects(fetch(origin), { code: "ERR_MQ_CERTIFICATE" });
  });
});
