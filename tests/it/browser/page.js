// The cases that run in a page, the same in every browser. Each takes arguments and gives what it saw as JSON; what is
// right is for the Rust side to say. Arguments of all: `url`, and `hash` of the server's certificate (hexadecimal).
'use strict';
(() => {
    const pending = new Set();

    /** What `promise` gives; `what` is in the message if it fails or hangs. */
    const at = async (what, promise) => {
        const mark = { what };
        pending.add(mark);
        try {
            return await promise;
        } catch (error) {
            throw new Error(`${what}: ${error.name}: ${error.message}`);
        } finally {
            pending.delete(mark);
        }
    };
    const sleep = ms => new Promise(done => setTimeout(done, ms));
    const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
    const unhex = text => Uint8Array.from(text.match(/../g), byte => parseInt(byte, 16));
    const sha256 = async bytes => hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
    const encode = text => new TextEncoder().encode(text);
    const decode = bytes => new TextDecoder().decode(bytes);
    const same = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);
    const payload = size => Uint8Array.from({ length: size }, (_, n) => n % 251);

    const connect = ({ url, hash }, options = {}) =>
        new WebTransport(url, {
            serverCertificateHashes: [{ algorithm: 'sha-256', value: unhex(hash) }],
            ...options,
        });

    const open = async (args, options) => {
        const transport = connect(args, options);
        // Awaited by some cases only; its failure is no failure of the others.
        transport.closed.catch(() => {});
        await at(`ready of ${args.url}`, transport.ready);
        return transport;
    };

    const datagramWriter = ({ datagrams }) => (datagrams.createWritable?.() ?? datagrams.writable).getWriter();

    /** The error that resets a stream or stops it with a code: Chromium has the draft's older constructor. */
    const streamError = code => {
        try {
            return new WebTransportError('test', { streamErrorCode: code });
        } catch {
            return new WebTransportError({ message: 'test', streamErrorCode: code });
        }
    };

    /** Writes in pieces, as far as the stream takes them, and ends the stream. */
    const send = async (writable, bytes, piece = 64 * 1024) => {
        const writer = writable.getWriter();
        for (let from = 0; from < bytes.length; from += piece) {
            await writer.ready;
            // Failures show at close().
            writer.write(bytes.subarray(from, from + piece)).catch(() => {});
        }
        await writer.close();
    };

    const joined = parts => {
        const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
        parts.reduce((offset, part) => {
            all.set(part, offset);
            return offset + part.length;
        }, 0);
        return all;
    };

    /** Everything up to the end of the stream. */
    const receive = async readable => {
        const [reader, parts] = [readable.getReader(), []];
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return joined(parts);
            parts.push(value);
        }
    };

    const drain = async reader => {
        while (!(await reader.read()).done);
    };

    /** The code with which a stream fails, or the name of another error. */
    const failure = promise =>
        promise.then(
            () => 'no failure',
            error => (error.source === 'stream' ? error.streamErrorCode : error.name),
        );

    /** What comes back on a new bidirectional stream. */
    const echo = async (transport, bytes) => {
        const stream = await at('a bidirectional stream', transport.createBidirectionalStream());
        const [, back] = await at('the echo', Promise.all([send(stream.writable, bytes), receive(stream.readable)]));
        return back;
    };

    const echoes = async (transport, text) => decode(await echo(transport, encode(text))) === text;

    /** Repeats a datagram until it comes back, as datagrams may be lost. */
    const datagramReturns = async (transport, bytes) => {
        const [writer, reader] = [datagramWriter(transport), transport.datagrams.readable.getReader()];
        let got;
        const reading = (async () => {
            do {
                ({ value: got } = await reader.read());
            } while (got && !same(got, bytes));
        })();
        while (!got || !same(got, bytes)) {
            await at('a datagram', writer.write(bytes));
            await at('the echo of a datagram', Promise.race([reading, sleep(200)]));
        }
        reader.releaseLock();
        writer.releaseLock();
        return true;
    };

    const info = ({ closeCode, reason }) => [closeCode, reason];

    /** Runs `task` on each item, so many at a time. */
    const each = async (items, atOnce, task) => {
        const [results, left] = [[], [...items.entries()]];
        const worker = async () => {
            for (let next; (next = left.shift()); ) results[next[0]] = await task(next[1], next[0]);
        };
        await Promise.all(Array.from({ length: atOnce }, worker));
        return results;
    };

    const numbers = count => Array.from({ length: count }, (_, n) => n);

    const cases = {
        async ready(args) {
            const transport = await open(args);
            transport.close();
            return info(await at('closed', transport.closed));
        },

        async datagrams({ count, ...args }) {
            const transport = await open(args);
            const [writer, reader] = [datagramWriter(transport), transport.datagrams.readable.getReader()];
            // Its number, then as many bytes as make it another length than the others'.
            const datagram = n => Uint8Array.from({ length: 2 + 9 * n }, (_, i) => (i < 2 ? n >> (8 * i) : n + i));
            const seen = new Set();
            let damaged = 0;
            const reading = (async () => {
                while (seen.size < count) {
                    const { value } = await reader.read();
                    const n = value[0] | (value[1] << 8);
                    if (n < count && same(value, datagram(n))) seen.add(n);
                    else damaged += 1;
                }
            })();
            while (seen.size < count) {
                for (const n of numbers(count).filter(n => !seen.has(n))) await writer.write(datagram(n));
                await at(`datagrams, ${seen.size} came back`, Promise.race([reading, sleep(300)]));
            }
            reader.releaseLock();
            writer.releaseLock();
            const largest = await datagramReturns(transport, payload(transport.datagrams.maxDatagramSize));
            return { seen: seen.size, damaged, largest };
        },

        async bidi({ size, ...args }) {
            const back = await echo(await open(args), payload(size));
            return [back.length, await sha256(back)];
        },

        async uni({ sizes, ...args }) {
            const transport = await open(args);
            const answers = transport.incomingUnidirectionalStreams.getReader();
            const results = [];
            for (const size of sizes) {
                const stream = await at('a unidirectional stream', transport.createUnidirectionalStream());
                await at('sending', send(stream, payload(size)));
                const { value } = await at('a stream of the server', answers.read());
                const back = await at('the answer', receive(value));
                results.push([back.length, await sha256(back)]);
            }
            return results;
        },

        /** Streams that the server opens: the line on each, then what it echoes there. */
        async serverBidi({ count, ...args }) {
            const streams = (await open(args)).incomingBidirectionalStreams.getReader();
            const lines = [];
            for (const n of numbers(count)) {
                const { value } = await at(`stream ${n} of the server`, streams.read());
                const [reader, writer] = [value.readable.getReader(), value.writable.getWriter()];
                let line = '';
                while (!line.endsWith('\n')) line += decode((await reader.read()).value);
                reader.releaseLock();
                await writer.write(encode(`reply to ${line}`));
                await at('the end of sending', writer.close());
                lines.push(line + decode(await at(`the echo on stream ${n}`, receive(value.readable))));
            }
            return lines;
        },

        async manyStreams({ count, atOnce, ...args }) {
            const transport = await open(args);
            const right = await each(numbers(count), atOnce, n => echoes(transport, `stream ${n}`));
            return right.filter(Boolean).length;
        },

        /** Uploads, several at once, of which the server tells the hash. */
        async uploads({ sizes, ...args }) {
            const transport = await open(args);
            return each(sizes, sizes.length, async size => JSON.parse(decode(await echo(transport, payload(size)))));
        },

        /** The first upload is not read for a while; datagrams and another one are not held up by it. */
        async stalledUpload({ size, ...args }) {
            const transport = await open(args);
            const order = [];
            const upload = async (name, bytes) => {
                const { sha256 } = JSON.parse(decode(await echo(transport, bytes)));
                order.push(name);
                return sha256;
            };
            const stalled = upload('stalled', payload(size));
            await datagramReturns(transport, encode('meanwhile'));
            order.push('datagram');
            const small = await upload('small', payload(1000));
            return { hashes: [await stalled, small], order };
        },

        /** Leaves a session open. */
        async leave(args) {
            return (await echoes(await open(args), 'text')) && 'echoed';
        },

        async closesOfPage({ closes, ...args }) {
            return each(closes, 5, async (close, n) => {
                const transport = await open(args);
                if (n % 2) {
                    // Also with a stream under way.
                    const { writable, readable } = await transport.createBidirectionalStream();
                    await writable.getWriter().write(encode('x'));
                    await readable.getReader().read();
                }
                transport.close(close);
                return info(await at(`close ${n}`, transport.closed));
            });
        },

        /** Streams that are aborted as soon as they are open; then whether the session is as ever. It stays open. */
        async abortAtOnce({ count, bidi, ...args }) {
            const transport = await open(args);
            for (const n of numbers(count)) {
                const writable = bidi
                    ? (await at('a bidirectional stream', transport.createBidirectionalStream())).writable
                    : await at('a unidirectional stream', transport.createUnidirectionalStream());
                // Fails when the server was quicker.
                writable.abort(streamError(n)).catch(() => {});
            }
            return echoes(transport, 'after them');
        },

        /** With `datagram`, on a datagram of the page's, while so many `streams` of each kind are open. */
        async closesOfServer({ urls, datagram, streams = 0, ...args }) {
            return each(urls, 5, async url => {
                const transport = await open({ ...args, url });
                for (const _ of numbers(streams)) {
                    const bidi = await at('a bidirectional stream', transport.createBidirectionalStream());
                    const uni = await at('a unidirectional stream', transport.createUnidirectionalStream());
                    for (const writable of [bidi.writable, uni]) {
                        // Fails when the session is closed.
                        writable.getWriter().write(payload(1000)).catch(() => {});
                    }
                }
                // Fails then as well.
                if (datagram) datagramReturns(transport, encode('close')).catch(() => {});
                return info(await at(`closed of ${url}`, transport.closed));
            });
        },

        /** Sessions that the server closes while a stream of the page's is in use. */
        async closesInUse({ urls, ...args }) {
            return each(urls, 1, async url => {
                const transport = await open({ ...args, url });
                const stream = await at('a stream', transport.createBidirectionalStream());
                await at('writing', stream.writable.getWriter().write(payload(1000)));
                await at('the echo', stream.readable.getReader().read());
                datagramReturns(transport, encode('close')).catch(() => {});
                const end = info(await at(`closed of ${url}`, transport.closed));
                // A page that crashes does so a moment later.
                await new Promise(resolve => setTimeout(resolve, 100));
                return end;
            });
        },

        /** How `ready` and `closed` of a session fail that the server refuses. */
        async refused(args) {
            const transport = connect(args);
            const outcome = promise =>
                promise.then(
                    () => ['fulfilled'],
                    error => [error.constructor.name, error.source],
                );
            return at('the refusal', Promise.all([outcome(transport.ready), outcome(transport.closed)]));
        },

        /** Two sessions side by side; the second goes on when the first is closed. */
        async twoSessions(args) {
            const [one, two] = await Promise.all([open(args), open(args)]);
            const text = name => encode(`${name} `.repeat(1000));
            const [first, second] = await Promise.all([
                Promise.all(numbers(20).map(() => echo(one, text('one')))),
                Promise.all(numbers(20).map(() => echo(two, text('two')))),
            ]);
            const right = [
                first.every(back => same(back, text('one'))),
                second.every(back => same(back, text('two'))),
                await datagramReturns(one, encode('one')),
                await datagramReturns(two, encode('two')),
            ];
            one.close({ closeCode: 1, reason: 'one' });
            await at('closed of the first session', one.closed);
            right.push(await echoes(two, 'still there'));
            return right;
        },

        async subprotocol({ offers, ...args }) {
            const chosen = [];
            for (const protocols of offers) {
                const transport = await open(args, { protocols });
                chosen.push(transport.protocol ?? null);
                transport.close();
            }
            return chosen;
        },

        /**
         * Streams given up by the page: the codes with which the server gives up the other half, of a stream reset, of
         * one stopped (with `stops`), and of the answer to one reset. Then the session is as ever.
         */
        async resets({ codes, stops, ...args }) {
            const transport = await open(args);
            const answers = transport.incomingUnidirectionalStreams.getReader();
            const underWay = async () => {
                const { writable, readable } = await transport.createBidirectionalStream();
                const [writer, reader] = [writable.getWriter(), readable.getReader()];
                await writer.write(payload(10_000));
                await at('the echo before the reset', reader.read());
                return [writer, reader];
            };
            const seen = [];
            for (const code of codes) {
                const [resetWriter, resetReader] = await underWay();
                await at('abort', resetWriter.abort(streamError(code)));
                const reset = await at('a reset', failure(drain(resetReader)));

                const [stoppedWriter, stoppedReader] = await underWay();
                await at('cancel', stoppedReader.cancel(streamError(code)));
                const stopped = stops && (await at('a stop', failure(stoppedWriter.closed)));

                const [writer, reader] = await underWay();
                await at('both', Promise.all([writer.abort(streamError(code)), reader.cancel(streamError(code))]));

                const uni = (await transport.createUnidirectionalStream()).getWriter();
                await uni.write(payload(10_000));
                const { value: answer } = await at('a stream of the server', answers.read());
                await at('abort', uni.abort(streamError(code)));
                const answered = await at('a reset of the answer', failure(drain(answer.getReader())));

                seen.push({ reset, stopped, answered, after: await echoes(transport, `after ${code}`) });
            }
            await at('the last datagram', datagramReturns(transport, encode('datagram')));
            return seen;
        },
    };

    globalThis.runCase = async (name, args) => {
        const late = sleep(args.deadline).then(() => {
            const waiting = Array.from(pending, ({ what }) => what);
            throw new Error(`not within ${args.deadline} ms: ${waiting.join(', ') || 'no step named'}`);
        });
        try {
            return { result: await Promise.race([cases[name](args), late]) };
        } catch (error) {
            return { error: `${name}: ${error.name}: ${error.message}` };
        }
    };
})();
