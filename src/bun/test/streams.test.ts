import assert from "node:assert/strict";
import { test } from "node:test";
import { ERR_AGAIN, ERR_GONE, ERR_RESET, ERR_STOPPED } from "../lib/abi.ts";
import { Engine } from "../lib/engine.ts";
import { Receiver, Sender } from "../lib/streams.ts";

/** An engine whose calls all have the result `code`. With `known`, events of the id 1 are to come. */
function engineWith(code: number, known: boolean): Engine {
  const targets = new Map(known ? [[1, {}]] : []);
  const call = () => code;
  const functions = { mq_finish: call };
  return Object.assign(Object.create(Engine.prototype), { targets, functions, handle: 1, read: call, write: call });
}

const reason = new Error("what the event says");

test("a reader gets the reason of an event that comes after the end", async () => {
  for (const code of [ERR_AGAIN, ERR_GONE, ERR_RESET]) {
    const receiver = new Receiver(engineWith(code, true), 1, () => {}, () => {});
    const read = receiver.stream.getReader().read();
    read.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 0));
    receiver.onReadable();
    receiver.error(reason);
    await assert.rejects(read, reason);
  }
});

test("a reader gets an error if no event will come", async () => {
  for (const code of [ERR_AGAIN, ERR_GONE]) {
    const receiver = new Receiver(engineWith(code, false), 1, () => {}, () => {});
    await assert.rejects(receiver.stream.getReader().read(), { code: "ERR_MQ_GONE" });
  }
});

test("a writer gets the reason of an event that comes after the end", async () => {
  for (const code of [ERR_GONE, ERR_STOPPED]) {
    for (const end of [(sender: Sender) => sender.write(new Uint8Array(1)), (sender: Sender) => sender.finish(null)]) {
      const sender = new Sender(engineWith(code, true), 1);
      const written = end(sender);
      sender.error(reason);
      await assert.rejects(written, reason);
    }
  }
});
