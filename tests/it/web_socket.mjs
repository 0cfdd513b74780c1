// Opens a WebSocket by `ws` and prints what came of it. The argument is JSON: `url`, `options` of `ws`, the `messages` to
// send (texts, or lists of the sizes of binary fragments), and the `close` for when as many have come back; without one,
// the server is to close.

import { createRequire } from 'node:module';

const WebSocket = createRequire(`${process.env.MIO_QUICHE_NODE_MODULES}/`)('ws');
const { url, options, messages, close } = JSON.parse(process.argv[2]);
const socket = new WebSocket(url, options);
const seen = { opened: false, extensions: '', status: null, received: [], equal: true, closed: null };
const bytes = sizes => Buffer.from(Array.from({ length: sizes.reduce((a, b) => a + b) }, (_, n) => n % 251));

const done = () => {
    if (close && seen.received.length === messages.length) socket.close(...close);
};
socket.on('open', () => {
    seen.opened = true;
    seen.extensions = socket.extensions;
    for (const message of messages) {
        if (typeof message === 'string') {
            socket.send(message);
            continue;
        }
        const all = bytes(message);
        let at = 0;
        message.forEach((size, n) => {
            socket.send(all.subarray(at, (at += size)), { binary: true, fin: n === message.length - 1 });
        });
    }
    done();
});
socket.on('message', (data, isBinary) => {
    const message = messages[seen.received.length];
    seen.equal &&= isBinary ? data.equals(bytes(message)) : data.toString() === message;
    seen.received.push(isBinary ? data.length : data.toString());
    done();
});
socket.on('unexpected-response', (_, { statusCode }) => {
    seen.status = statusCode;
    socket.terminate();
});
// An end without a close is one with 1006.
socket.on('error', () => {});
socket.on('close', (code, reason) => {
    seen.closed = [code, reason.toString()];
    process.stdout.write(JSON.stringify(seen));
});
