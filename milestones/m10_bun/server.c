// A server in C and one thread: answers requests, and sends the datagrams of sessions back.
#include <mio_quiche.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t stopping;

static void stop(int number) { stopping = number; }

int main(int argc, char **argv) {
    static const char body[] = "hello from C\n";
    char settings[256], text[256];
    int len = snprintf(settings, sizeof settings, "listen%c%s%ccert_file%ccerts/cert.pem%ckey_file%ccerts/key.pem%c", 0,
                       argc > 1 ? argv[1] : "127.0.0.1:4433", 0, 0, 0, 0, 0);
    uint64_t server;
    int32_t code = mq_server_new((const uint8_t *)settings, (size_t)len, NULL, &server);
    if (code != MQ_OK) {
        int32_t more = mq_last_error((uint8_t *)text, sizeof text);
        fprintf(stderr, "%s: %.*s\n", mq_error_text(code), (int)more, text);
        return 1;
    }
    printf("listening on %.*s\n", (int)mq_local_addr(server, (uint8_t *)text, sizeof text), text);
    fflush(stdout);
    signal(SIGTERM, stop);
    for (int32_t count = 0; count >= 0 && !stopping;) {
        mq_event events[64];
        count = mq_poll(server, events, 64, 1000);
        for (int32_t i = 0; i < count; i++) {
            const mq_event *event = &events[i];
            if (event->kind == MQ_EVENT_REQUEST)
                mq_respond(server, event->id, 200, NULL, 0, (const uint8_t *)body, sizeof body - 1, MQ_FLAG_END);
            else if (event->kind == MQ_EVENT_SESSION_REQUEST)
                mq_accept(server, event->id, NULL, 0);
            else if (event->kind == MQ_EVENT_DATAGRAM)
                mq_send_datagram(server, event->id, event->data, event->len);
        }
    }
    return mq_stop(server);
}
