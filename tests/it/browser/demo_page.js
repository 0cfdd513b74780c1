// Uses the demo page, as somebody would who clicks. `server` is the URL to connect to, if not the page's own proposal;
// `missing` is for a browser without WebTransport. Gives what the page says.
async ({ server, missing, path }) => {
    const $ = id => document.getElementById(id);
    const until = async (what, check) => {
        const end = performance.now() + 60000;
        while (!check()) {
            if (performance.now() > end) throw new Error(`no ${what}: ${document.body.innerText}`);
            await new Promise(done => setTimeout(done, 10));
        }
    };
    let sockets = 0;
    const Before = WebSocket;
    window.WebSocket = class extends Before {
        constructor(...args) {
            super(...args);
            sockets++;
        }
    };
    if (missing) delete window.WebTransport;
    await until('address', () => $('hash').value);
    if (server) $('url').value = server;
    if (path) $('path').value = path;
    $('connect').click();
    await until('end of the attempt', () => ['connected', 'failed', 'closed'].includes($('state').dataset.is));
    const seen = { over: $('f-over').textContent, outcome: $('outcome').textContent, sockets };
    if ($('state').dataset.is !== 'connected') return seen;
    // Firefox drops some of a burst.
    const [button, count] = seen.over === 'WebSocket' ? ['burst', 100] : ['one', 1];
    $(button).click();
    await until('datagrams', () => $('d-back').textContent === `${count}`);
    const rows = () => [...$('rows').querySelectorAll('em')].map(note => note.textContent).filter(Boolean);
    for (const [button, size] of [['bidi', '0'], ['uni', '0'], ['bidi', '1048576'], ['uni', '1048576']]) {
        const before = rows().length;
        $('what').value = size;
        $(button).click();
        await until('stream', () => rows().length > before && !rows().includes('under way'));
    }
    seen.streams = rows();
    $('code').value = 7;
    $('close').requestSubmit();
    await until('close', () => $('state').dataset.is === 'closed');
    seen.closed = $('outcome').textContent;
    return { ...seen, sockets };
};
