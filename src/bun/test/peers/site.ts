import { createHash } from "node:crypto";
import { serve, type Server, withTrailers } from "../../lib/index.ts";
import { deferred } from "../../lib/deferred.ts";
import type { ServerSession, WebTransportHandlers } from "../../lib/server_session.ts";
import { bytes, files } from "../setup.ts";

/** Of what is sent in large: 100 MB. */
export const SIZE = 100_000_000;

const PIECE = 1 << 20;

/** So many bytes of printable ASCII, in pieces. No piece is like the one before. */
export function* payload(size: number): Generator<Uint8Array> {
  const pattern = new Uint8Array(PIECE + 95).map((_, i) => 32 + (i % 95));
  for (let at = 0; at < size; at += PIECE) {
    yield pattern.subarray(at % 95, (at % 95) + Math.min(PIECE, size - at));
  }
}

/** Bytes and SHA-256 of chunks. */
export async function digest(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<[number, string]> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    size += chunk.length;
  }
  return [size, hash.digest("hex")];
}

/** Bytes and SHA-256 of 100 MB. */
export const DIGEST = await digest(payload(SIZE));

function stream(chunks: Generator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      const { value, done } = chunks.next();
      if (done) controller.close();
      else controller.enqueue(value.slice());
    },
  }, { highWaterMark: 0 });
}

/** 1 MiB, and then what `next` does. */
function begun(next: () => Promise<void>): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(PIECE)), pull: next }, {
    highWaterMark: 0,
  });
}

/** What the browsers' cases expect of a server: see tests/it/browser/page.js. */
const echo: WebTransportHandlers = {
  async open(session) {
    const count = Number(new URL(session.request.url).searchParams.get("open"));
    for (let n = 0; n < count; n++) {
      const { readable, writable } = await session.createBidirectionalStream();
      const writer = writable!.getWriter();
      await writer.write(bytes(`server stream ${n}\n`));
      writer.releaseLock();
      void readable!.pipeTo(writable!).catch(() => {});
    }
  },
  datagram: (session, data) => void session.sendDatagram(data),
  // What the page resets or stops is no failure.
  stream: async (session, { readable, writable }) =>
    readable!.pipeTo(writable ?? (await session.createUnidirectionalStream())).catch(() => {}),
};

function closeAsAsked(session: ServerSession): void {
  const asked = new URL(session.request.url).searchParams;
  session.close({ closeCode: Number(asked.get("code")), reason: asked.get("reason") ?? "" });
}

/** A server in this process for clients on other stacks. */
export class Site implements AsyncDisposable {
  readonly server: Server;
  /** Why the request for `/waiting` was given up. */
  readonly aborted = deferred<{ code: string; message: string }>();
  readonly #closes: [number, string][] = [];
  #onClose = (): void => {};

  constructor(origins: string[] = []) {
    const close = (_: ServerSession, info: { closeCode: number; reason: string }): void => {
      this.#closes.push([info.closeCode, info.reason]);
      this.#onClose();
    };
    this.server = serve({
      port: 0,
      hostname: "127.0.0.1",
      ...files,
      settings: { allow_origin: origins },
      fetch: (request) => this.#answer(request),
      webtransport: {
        "/wt/echo": echo,
        "/wt/noted": { ...echo, close },
        "/wt/close": { open: closeAsAsked, close },
        "/wt/reject": { accept: () => new Response(null, { status: 429 }) },
      },
    });
  }

  async #answer(request: Request): Promise<Response> {
    const { method } = request;
    switch (new URL(request.url).pathname) {
      case "/":
        return new Response("Hello from Bun!\n", { headers: { "content-type": "text/plain" } });
      case "/trailer":
        return withTrailers(new Response("before it\n"), { "x-after": "the body" });
      case "/data":
        return withTrailers(new Response(stream(payload(SIZE))), { "x-checksum": DIGEST[1] });
      case "/plain-data":
        return new Response(stream(payload(SIZE)));
      case "/upload":
        return Response.json([method, ...(await digest(request.body!))]);
      case "/waiting":
        request.signal.addEventListener("abort", () => this.aborted.resolve(request.signal.reason));
        return new Response(begun(() => new Promise(() => {})));
      case "/failing":
        return new Response(begun(() => Promise.reject(new Error("expected by the test"))));
      default:
        return new Response("not here\n", { status: 404 });
    }
  }

  /** Code and reason of sessions at `/wt/noted` and `/wt/close` that ended since the last call, when there are so many. */
  async closes(count: number): Promise<[number, string][]> {
    while (this.#closes.length < count) await new Promise<void>((resolve) => (this.#onClose = resolve));
    return this.#closes.splice(0);
  }

  /** Of `localhost`, which is in the certificate. */
  url(path: string): string {
    return `https://localhost:${this.server.port}${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop(true);
  }
}
