import assert from "node:assert/strict";
import type { WebTransport } from "../../lib/index.ts";
import { all, bytes, sha256, text } from "../setup.ts";

/** All of a stream, as text. */
export async function read(stream: ReadableStream<Uint8Array>): Promise<string> {
  return text(await all(stream));
}

export async function first<T>(stream: ReadableStream<T>): Promise<T> {
  return (await stream.getReader().read()).value!;
}

/** Uses a session of a server that sends everything back: unidirectional streams on others. */
export async function useEcho(transport: WebTransport): Promise<void> {
  await transport.ready;
  const datagrams = transport.datagrams.writable.getWriter();
  const back = transport.datagrams.readable.getReader();
  for (let n = 0; n < 20; n++) {
    await datagrams.write(bytes(`datagram ${n}`));
    assert.equal(text((await back.read()).value!), `datagram ${n}`);
  }

  const echo = async (data: Uint8Array): Promise<Uint8Array> => {
    const { readable, writable } = await transport.createBidirectionalStream();
    const writer = writable!.getWriter();
    const sent = writer.write(data).then(() => writer.close());
    const received = await all(readable!);
    await sent;
    return received;
  };
  const large = new Uint8Array(1 << 20).map((_, i) => (i * 7) % 253);
  assert.equal(sha256(await echo(large)), sha256(large));
  const texts = Array.from({ length: 50 }, (_, n) => `stream ${n}`);
  assert.deepEqual((await Promise.all(texts.map((one) => echo(bytes(one))))).map(text), texts);

  const answers = transport.incomingUnidirectionalStreams.getReader();
  for (const data of [bytes("one way"), large]) {
    const writer = (await transport.createUnidirectionalStream()).getWriter();
    const sent = writer.write(data).then(() => writer.close());
    assert.equal(sha256(await all((await answers.read()).value!)), sha256(data));
    await sent;
  }
}
