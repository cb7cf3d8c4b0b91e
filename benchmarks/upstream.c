/*
 * A model server that costs nearly nothing: what is left to measure is the proxy in front of it.
 *
 *     upstream --port N [--load-delay SECONDS]
 *
 * GET anything                     200 at once
 * POST anything                    a small chat completion, as soon as the body (of any size) has come
 * POST with "stream":true          an SSE stream: "events":E in all, "rate":R a second; R = 0: as fast as they are
 *                                  read, each in a write of its own, as model servers do, or "batch":B in one
 *
 * Each event carries the CLOCK_MONOTONIC nanoseconds at which it was made, as "content":"@<19 digits>".  Streams that
 * run side by side are spread evenly over one period, so that a run does not depend on when its requests happened to
 * arrive.  The keys are looked for in the first bytes of the body, as text: a proxy may reorder or nest them.
 *
 * It listens only after its load delay, and leaves at once on SIGTERM.
 */
#define _GNU_SOURCE
#include "common.h"
#include <math.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

enum { HEAD_ROOM = 16384, PROMPT_ROOM = 4096, OUT_ROOM = 32768, SCRATCH = 262144, MAX_STREAMS = 4096, MAX_BATCH = 100, POLLED = 512 };
#define DONE "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
#define NEVER INT64_MAX

struct client {
    int fd;
    bool closed, close_after, wants_out;
    char head[HEAD_ROOM];
    size_t head_size;
    bool in_body;
    size_t body_left;
    char prompt[PROMPT_ROOM]; /* the first bytes of the body */
    size_t prompt_size;
    char out[OUT_ROOM];
    size_t out_size, out_sent;
    bool streaming;
    long events_left, batch;
    int64_t period; /* 0: the next event is due whenever there is room */
};

static int poller;
static struct {
    int64_t due;
    struct client *client;
} streams[MAX_STREAMS]; /* dense, for it is searched before each wait */
static int stream_count;
static unsigned stream_serial;
static char event_text[512];
static size_t event_size, stamp_at;

static void flush(struct client *c)
{
    while (c->out_sent < c->out_size) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                c->closed = true;
            break;
        }
        c->out_sent += sent;
    }
    bool blocked = c->out_sent < c->out_size;
    if (!blocked)
        c->out_size = c->out_sent = 0;
    if (blocked != c->wants_out && !c->closed) {
        struct epoll_event interest = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &interest);
        c->wants_out = blocked;
    }
    if (!blocked && c->close_after && !c->streaming)
        shutdown(c->fd, SHUT_RDWR); /* the poller reports it, as if the client had left */
}

static void put(struct client *c, const char *data, size_t size)
{
    if (c->out_size + size > OUT_ROOM)
        die("a client that reads nothing");
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

static void answer(struct client *c, const char *body)
{
    char head[256];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        strlen(body));
    put(c, head, size);
    put(c, body, strlen(body));
    flush(c);
}

/* ---- streams ---- */

static void make_event_text(void)
{
    static const char data[] = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                               "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                               "\"@0000000000000000000\"},\"finish_reason\":null}]}\n\n";
    event_size = snprintf(event_text, sizeof event_text, "%zx\r\n%s\r\n", sizeof data - 1, data);
    stamp_at = strchr(event_text, '@') + 1 - event_text;
}

/* Appends up to `count` events that were all made now. */
static void put_events(struct client *c, int64_t now, long count)
{
    char *digit = event_text + stamp_at + 19;
    for (int64_t rest = now; digit > event_text + stamp_at; rest /= 10)
        *--digit = '0' + rest % 10;
    for (; count > 0 && c->events_left > 0; count--, c->events_left--)
        put(c, event_text, event_size);
    if (c->events_left == 0) {
        put(c, DONE, sizeof DONE - 1);
        c->streaming = false;
    }
}

static long number_in(const char *text, const char *key, long otherwise)
{
    const char *found = strstr(text, key);
    return found ? strtol(found + strlen(key), NULL, 10) : otherwise;
}

static void start_stream(struct client *c)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    long rate = number_in(c->prompt, "\"rate\":", 100);
    int64_t now = now_ns();
    if (stream_count == MAX_STREAMS)
        die("too many streams");
    c->streaming = true;
    c->events_left = number_in(c->prompt, "\"events\":", 100);
    c->batch = number_in(c->prompt, "\"batch\":", 1);
    if (c->batch > MAX_BATCH)
        c->batch = MAX_BATCH;
    c->period = rate > 0 ? 1000000000 / rate : 0;
    /* The golden ratio spreads any number of consecutive streams evenly. */
    streams[stream_count].due = now + c->period * (0.5 + fmod(stream_serial++ * 0.6180339887498949, 1));
    streams[stream_count++].client = c;
    put(c, head, sizeof head - 1);
    put_events(c, now, 1);
    flush(c);
}

/* Sends what is due; returns when the next event is. */
static int64_t serve_streams(void)
{
    int64_t next = NEVER, now = now_ns();
    for (int i = 0; i < stream_count; i++) {
        struct client *c = streams[i].client;
        if (streams[i].due <= now) {
            if (c->out_size == 0 && c->streaming && !c->closed) {
                put_events(c, now_ns(), c->batch);
                streams[i].due += c->period;
                flush(c);
            }
            if (c->closed || !c->streaming) {
                streams[i--] = streams[--stream_count];
                continue;
            }
            if (c->out_size > 0)
                continue; /* the poller tells when there is room */
        }
        if (streams[i].due < next)
            next = streams[i].due;
    }
    return next;
}

static void forget(struct client *c)
{
    for (int i = 0; i < stream_count; i++)
        if (streams[i].client == c)
            streams[i--] = streams[--stream_count];
    close(c->fd);
    free(c);
}

/* ---- requests ---- */

static void answer_request(struct client *c)
{
    bool is_get = strncmp(c->head, "GET ", 4) == 0;
    c->close_after = field(c->head, "\r\nConnection: close") != NULL;
    c->prompt[c->prompt_size] = 0;
    c->head_size = c->prompt_size = 0;
    c->in_body = false;
    if (is_get)
        answer(c, "{\"status\":\"ok\"}");
    else if (strstr(c->prompt, "\"stream\":true") || strstr(c->prompt, "\"stream\": true"))
        start_stream(c);
    else
        answer(c, "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"bench\",\"choices\":"
                  "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello there.\"},\"finish_reason\":"
                  "\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}");
}

/* Takes bytes of the head, and returns how many of `data` belonged to it. */
static size_t take_head(struct client *c, const char *data, size_t size)
{
    size_t before = c->head_size, room = HEAD_ROOM - 1 - before;
    memcpy(c->head + before, data, size < room ? size : room);
    c->head_size += size < room ? size : room;
    c->head[c->head_size] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        c->closed = c->head_size == HEAD_ROOM - 1;
        return size;
    }
    end[2] = 0;
    const char *length = field(c->head, "\r\nContent-Length:");
    c->body_left = length ? strtoul(length, NULL, 10) : 0;
    c->in_body = true;
    return end + 4 - c->head - before;
}

static void take(struct client *c, const char *data, size_t size)
{
    while (size > 0 && !c->closed) {
        size_t used = size;
        if (!c->in_body) {
            used = take_head(c, data, size);
        } else {
            if (used > c->body_left)
                used = c->body_left;
            size_t room = PROMPT_ROOM - 1 - c->prompt_size, kept = used < room ? used : room;
            memcpy(c->prompt + c->prompt_size, data, kept);
            c->prompt_size += kept;
            c->body_left -= used;
        }
        data += used;
        size -= used;
        if (c->in_body && c->body_left == 0)
            answer_request(c);
    }
}

static void receive(struct client *c)
{
    static char scratch[SCRATCH];
    ssize_t size = recv(c->fd, scratch, sizeof scratch, 0);
    if (size > 0)
        take(c, scratch, size);
    else if (size == 0 || errno != EAGAIN)
        c->closed = true;
}

/* ---- the loop ---- */

static void accept_clients(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &interest);
    }
}

static void run(int listener)
{
    struct epoll_event events[POLLED];
    for (;;) {
        int64_t wait = serve_streams();
        struct timespec pause = {0};
        if (wait != NEVER && (wait -= now_ns()) > 0)
            pause = (struct timespec){wait / 1000000000, wait % 1000000000};
        int count = epoll_pwait2(poller, events, POLLED, wait == NEVER ? NULL : &pause, NULL);
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                accept_clients(listener);
                continue;
            }
            if (events[i].events & EPOLLOUT)
                flush(c);
            if (events[i].events & ~EPOLLOUT)
                receive(c);
        }
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (c && c->closed)
                forget(c);
        }
    }
}

int main(int argc, char **argv)
{
    int port = 0;
    double load_delay = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--load-delay") == 0)
            load_delay = atof(argv[i + 1]);
        else
            die("usage: upstream --port N [--load-delay SECONDS]");
    }
    usleep(load_delay * 1e6);
    prctl(PR_SET_TIMERSLACK, 1UL); /* events leave when they are due, not up to 50 us later */
    make_event_text();
    poller = epoll_create1(EPOLL_CLOEXEC);
    int one = 1, listener = tcp_socket(SOCK_NONBLOCK);
    struct sockaddr_in address = loopback(port);
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0)
        die("listen");
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &interest);
    run(listener);
}
