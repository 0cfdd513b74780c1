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
    return { newPage: () => context.newPage(), close: () => context.close() };
});
