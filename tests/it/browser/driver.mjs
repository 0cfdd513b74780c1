// What the drivers share. Lines of JSON on standard input and output: first where the pages are from, then for each
// case its outcome. The browser is closed when standard input ends, so it does not outlive the tests.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('page.js', import.meta.url));

/** A package that scripts/lib.sh has installed. */
export const library = createRequire(`${process.env.MIO_QUICHE_NODE_MODULES}/`);

/** Arguments for the browser. */
export const options = process.argv.slice(2);

const print = value => process.stdout.write(`${JSON.stringify(value)}\n`);

/** A server of one empty page. WebTransport wants a secure origin, and localhost is one. */
const serve = () =>
    new Promise(listening => {
        const server = createServer((request, response) => {
            response.setHeader('content-type', 'text/html');
            response.end('<!doctype html><link rel="icon" href="data:,"><title>test</title>');
        });
        server.listen(0, '127.0.0.1', () => listening(server));
    });

/**
 * Runs the cases. `page` is a new page each time, so no case meets what another has left; it stays open until the next
 * case begins, so that nothing is lost that is still to be sent.
 */
async function run({ newPage, type }, origin) {
    let page;
    for await (const line of createInterface({ input: process.stdin })) {
        const { name, at = origin, args } = JSON.parse(line);
        await page?.close();
        page = await newPage();
        const response = await page.goto(at);
        if (name === 'load') {
            const protocol = await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
            print({ result: [response.status(), protocol, await response.text()] });
            continue;
        }
        if (name === 'evaluate' && args.pages) {
            // In several pages at once; `PAGE` in the script is the number of its page.
            const pages = await Promise.all(Array.from({ length: args.pages }, newPage));
            await Promise.all(pages.map(page => page.goto(at)));
            const results = pages.map((page, n) => page.evaluate(args.script.replaceAll('PAGE', n)));
            print({ result: await Promise.all(results) });
            await Promise.all(pages.map(page => page.close()));
            continue;
        }
        if (name === 'evaluate') {
            print({ result: await page.evaluate(args.script) });
            continue;
        }
        if (name === 'console') {
            print({ result: await type(page, args.script) });
            continue;
        }
        await page.addScriptTag({ path: script });
        print(await page.evaluate(([name, args]) => globalThis.runCase(name, args), [name, args]));
    }
}

/**
 * Serves until standard input ends. `launch` gives a browser's `newPage`, `close`, and `type`, which runs a script in a
 * page as its console does.
 */
export async function drive(launch) {
    const server = await serve();
    const origin = `http://localhost:${server.address().port}`;
    const browser = await launch();
    try {
        print({ origin });
        await run(browser, origin);
    } finally {
        server.close();
        await browser.close();
    }
}
