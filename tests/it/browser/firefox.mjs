// Drives Firefox by puppeteer.

import { drive, library, options } from './driver.mjs';

await drive(async () => {
    const browser = await library('puppeteer-core').launch({
        browser: 'firefox',
        executablePath: process.env.MIO_QUICHE_FIREFOX,
        headless: true,
        args: options,
    });
    return { newPage: () => browser.newPage(), close: () => browser.close() };
});
