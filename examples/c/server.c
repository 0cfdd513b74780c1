// An HTTP/3 and WebTransport server in C: answers requests, and echoes the datagrams of sessions.
//
//     cc -Iinclude examples/c/server.c -Ltarget/library -lmio_quiche -Wl,-rpath,target/library -o server
//     ./server cert.pem key.pem
#define _GNU_SOURCE
#include <mio_quiche.h>
#include <stdio.h>
#include <string.h>

// Appends a name or a value to the settings.
static size_t put(char *settings, size_t len, const char *text) {
    return len + (size_t)sprintf(settings + len, "%s", text) + 1;
}

int main(int argc, char **argv) {
    const char *pairs[] = {"listen", "127.0.0.1:0", "cert_file", argc > 2 ? argv[1] : "certs/cert.pem",
                           "key_file", argc > 2 ? argv[2] : "certs/key.pem", "allow_origin", "*"};
    char settings[4096], text[256];
    size_t len = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) len = put(settings, len, pairs[i]);
    uint64_t server;
    int32_t code = mq_server_new((uint8_t *)settings, len, NULL, &server);
    if (code < 0) {
        int32_t more = mq_last_error((uint8_t *)text, sizeof text);
        fprintf(stderr, "%s: %.*s\n", mq_error_text(code), more, text);
        return 1;
    }
    printf("listening on %.*s\n", mq_local_addr(server, (uint8_t *)text, sizeof text), text);
    fflush(stdout);
    for (int running = 1; running;) {
        mq_event events[64];
        int32_t count = mq_poll(server, events, 64, -1);
        for (int32_t i = 0; i < count; i++) {
            const mq_event *event = &events[i];
            if (event->kind == MQ_EVENT_REQUEST) {
                int stops = event->len > 5 && memmem(event->data, event->len, ":path\0/stop", 11) != NULL;
                mq_respond(server, event->id, 200, NULL, 0, (const uint8_t *)"hello from C\n", 13, MQ_FLAG_END);
                if (stops) mq_shutdown(server);
            } else if (event->kind == MQ_EVENT_SESSION_REQUEST) {
                mq_accept(server, event->id, NULL, 0);
            } else if (event->kind == MQ_EVENT_DATAGRAM) {
                mq_send_datagram(server, event->id, event->data, event->len);
            }
            running = running && event->kind != MQ_EVENT_ENDED;
        }
        if (count < 0) break;
    }
    return mq_stop(server);
}
