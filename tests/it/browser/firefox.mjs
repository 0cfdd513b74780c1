// Drives Firefox by puppeteer.

import { drive, library, options } from './driver.mjs';

await drive(async () => {
    const browser = await library('puppeteer-core').launch({
        browser: 'firefox',
        executablePath: process.env.MIO_QUICHE_FIREFOX,
        headless: true,
        args: options,
    });
    // There is no access to the console's own evaluation; a function has room for `await`, but variables of its own.
    const type = (page, script) => {
        const lines = script.trimEnd().split('\n');
        return page.evaluate(`(async () => {${[...lines.slice(0, -1), `return ${lines.at(-1)}`].join('\n')}})()`);
    };
    return { newPage: () => browser.newPage(), close: () => browser.close(), type };
});
