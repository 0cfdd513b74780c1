// The solution of the exercise of milestone 10. The chapter shows the same code, which tests/it/course.rs compares.

#include <mio_quiche.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_SESSIONS 64

static uint64_t server, sessions[MAX_SESSIONS];
static size_t count;

// Takes all events: until then, the descriptor stays readable.
static void take_events(void) {
    mq_event events[64];
    for (int32_t taken = 64; taken == 64;) {
        taken = mq_poll(server, events, 64, 0);
        for (int32_t i = 0; i < taken; i++) {
            const mq_event *event = &events[i];
            if (event->kind == MQ_EVENT_SESSION_REQUEST) {
                if (count < MAX_SESSIONS) mq_accept(server, event->id, NULL, 0);
                else mq_respond(server, event->id, 503, NULL, 0, NULL, 0, MQ_FLAG_END);
            } else if (event->kind == MQ_EVENT_SESSION_OPENED && count < MAX_SESSIONS) {
                sessions[count++] = event->id;
                printf("sessions: %zu\n", count);
            } else if (event->kind == MQ_EVENT_SESSION_CLOSED) {
                for (size_t place = 0; place < count; place++)
                    if (sessions[place] == event->id) sessions[place] = sessions[--count];
            } else if (event->kind == MQ_EVENT_REQUEST) {
                mq_respond(server, event->id, 404, NULL, 0, NULL, 0, MQ_FLAG_END);
            }
        }
    }
}

int main(int argc, char **argv) {
    char settings[256], text[1024];
    int len = snprintf(settings, sizeof settings,
                       "listen%c%s%cthread%con%ccert_file%ccerts/cert.pem%ckey_file%ccerts/key.pem%c", 0,
                       argc > 1 ? argv[1] : "127.0.0.1:4433", 0, 0, 0, 0, 0, 0, 0);
    if (mq_server_new((const uint8_t *)settings, (size_t)len, NULL, &server) != MQ_OK) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening on %.*s\n", (int)mq_local_addr(server, (uint8_t *)text, sizeof text), text);
    struct pollfd fds[] = {{.fd = mq_fd(server), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0) {
        if (fds[0].revents) take_events();
        if (fds[1].revents) {
            ssize_t typed = read(STDIN_FILENO, text, sizeof text);
            if (typed <= 0) break;
            for (size_t i = 0; i < count; i++)
                mq_send_datagram(server, sessions[i], (const uint8_t *)text, (size_t)typed);
        }
    }
    return mq_stop(server);
}
