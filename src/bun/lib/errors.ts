import { ERROR_NAMES } from "./abi.ts";

/** An error of the library. `code` is `ERR_MQ_` and a name of `include/mio_quiche.h`, such as `ERR_MQ_CONFIG`. */
export class QuicheError extends Error {
  override readonly name = "QuicheError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const SENTENCES: Record<string, string> = {
  ARGUMENT: "an argument has a value that it cannot have",
  HANDLE: "it has been stopped",
  GONE: "it has ended",
  STATE: "the call does not fit the state",
  FULL: "too much waits already",
  TOO_LARGE: "it is too large",
  RESET: "the stream was reset",
  STOPPED: "the stream was stopped by the peer",
  CONFIG: "a setting is invalid",
  SYSTEM: "the operating system reported an error",
  ENDED: "it has been shut down",
  UNSUPPORTED: "the peer or the settings do not offer this",
  RESOLVE: "the host has no address",
  CONNECT: "the server cannot be reached",
  TIMEOUT: "it was not done in time",
  CERTIFICATE: "the server's certificate is not trusted",
  REJECTED: "the server rejected the session",
  CLOSED: "the connection ended",
  CANCELLED: "it was cancelled",
  MALFORMED: "the message breaks a rule of HTTP/3, or a limit",
};

/** The error for a code of the ABI, with or without its sign. */
export function quicheError(code: number, detail?: string): QuicheError {
  const name = ERROR_NAMES[Math.abs(code)] ?? "INTERNAL";
  return new QuicheError(`ERR_MQ_${name}`, detail || SENTENCES[name] || `the library reported ${name}`);
}

/** The error for an argument of the wrong type or value. */
export function argumentError(message: string): TypeError & { code: string } {
  return Object.assign(new TypeError(message), { code: "ERR_MQ_ARGUMENT" });
}
