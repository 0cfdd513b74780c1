// Drives Chromium by playwright.

import { drive, library, options } from './driver.mjs';

await drive(async () => {
    const context = await library('playwright-core').chromium.launchPersistentContext('', {
        executablePath: process.env.MIO_QUICHE_CHROMIUM,
        headless: true,
        // As root there is no sandbox. The rest keeps it from talking to others than us.
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--no-first-run',
            '--no-proxy-server',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            ...options,
        ],
    });
    // As DevTools evaluates what is typed: with `await`, and among the page's own variables.
    const type = async (page, expression) => {
        const devtools = await context.newCDPSession(page);
        const mode = { replMode: true, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await devtools.send('Runtime.evaluate', { expression, ...mode });
        return exceptionDetails?.exception?.description ?? result.value;
    };
    return { newPage: () => context.newPage(), close: () => context.close(), type };
});
