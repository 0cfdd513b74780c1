import { setTimeout } from "node:timers";
import { decode, Engine } from "./engine.ts";
import { encodeSettings, type SettingPairs, type Settings } from "./fields.ts";

/** How a client trusts servers, and settings of its engine. */
export interface ClientOptions {
  /** A file of authorities, in place of the system's. */
  caFile?: string;
  /** Accept every certificate. */
  insecure?: boolean;
  /** Settings of the engine by name. */
  settings?: Settings;
}

/** How long an engine without users is kept, in milliseconds. */
const IDLE = 30_000;

interface Shared {
  engine: Engine;
  users: number;
  timer?: ReturnType<typeof setTimeout>;
}

const shared = new Map<string, Shared>();

/** Borrows the engine of clients with these options, and returns it with what gives it back. */
export function borrow(options: ClientOptions, hashes: string[] = []): { engine: Engine; giveBack: () => void } {
  const settings: SettingPairs = [
    ["ca_file", options.caFile],
    ["insecure", options.insecure],
    ["cert_hash", hashes],
    ["max_redirects", 0],
    ...Object.entries(options.settings ?? {}),
  ];
  const key = decode(encodeSettings(settings));
  let client = shared.get(key);
  if (client?.engine.stopped) client = undefined;
  if (!client) {
    client = { engine: new Engine("client", settings, { onEvent() {} }), users: 0 };
    shared.set(key, client);
  }
  const { engine } = client;
  const mine = client;
  mine.users++;
  clearTimeout(mine.timer);
  let isBack = false;
  const giveBack = (): void => {
    if (isBack) return;
    isBack = true;
    if (--mine.users > 0) return;
    mine.timer = setTimeout(() => {
      if (shared.get(key) === mine) shared.delete(key);
      engine.stop();
    }, IDLE);
    mine.timer.unref();
  };
  return { engine, giveBack };
}
