/*
 * Reads many streams at once, and says how late their events were.
 *
 *     streams --port N [--path P] [--model M] [--streams 16] [--rate 100] [--events 200] [--batch 1] [--skip 5]
 *
 * All requests are sent at once, each on a connection of its own.  The delay of an event is the time at which it was
 * read here minus the time at which the upstream made it (its "@<19 digits>", see upstream.c); the first --skip events
 * of each stream, which come while others are still connecting, are counted but not timed.  The result is one JSON
 * object on stdout.  Every stream must answer 200 and be complete, or there is no result.
 */
#define _GNU_SOURCE
#include "common.h"
#include <limits.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { HEAD_ROOM = 16384, READ_SIZE = 65536, DIGITS = 19, MARK = DIGITS + 2 /* "@ */, POLLED = 512 };

struct stream {
    int fd;
    int64_t began, first_event; /* first_event 0: none yet */
    long events;
    char head[HEAD_ROOM];
    size_t head_size;
    bool in_body, done;
    enum { IN_SIZE, IN_DATA, AFTER_DATA } part; /* of the chunked coding (RFC 9112 section 7.1) */
    size_t chunk_left;
    char tail[MARK]; /* the end of the text so far: it may hold the beginning of a mark */
    size_t tail_size;
};

static long skip = 5;
static int64_t *delays, last_event;
static size_t delay_count;

static void broken(const struct stream *s, const char *why)
{
    errno = 0;
    fprintf(stderr, "streams: %s after %ld events; the answer began: %.300s\n", why, s->events, s->head);
    exit(1);
}

/* Finds the marks of events in text whose transfer coding is removed. */
static void read_text(struct stream *s, const char *data, size_t size, int64_t now)
{
    static char text[MARK + READ_SIZE];
    memcpy(text, s->tail, s->tail_size);
    memcpy(text + s->tail_size, data, size);
    const char *at = text, *end = text + s->tail_size + size, *mark;
    while ((mark = memmem(at, end - at, "\"@", 2)) && end - mark >= MARK) {
        int64_t made = 0;
        for (const char *digit = mark + 2; digit < mark + MARK; digit++)
            made = made * 10 + *digit - '0';
        if (s->events++ == 0)
            s->first_event = now;
        if (s->events > skip)
            delays[delay_count++] = now - made;
        last_event = now;
        at = mark + MARK;
    }
    s->tail_size = end - at < MARK - 1 ? end - at : MARK - 1;
    memcpy(s->tail, end - s->tail_size, s->tail_size);
}

static void read_chunks(struct stream *s, const char *data, size_t size, int64_t now)
{
    const char *end = data + size;
    while (data < end && !s->done) {
        if (s->part == IN_DATA) {
            size_t here = (size_t)(end - data) < s->chunk_left ? (size_t)(end - data) : s->chunk_left;
            read_text(s, data, here, now);
            data += here;
            s->chunk_left -= here;
            if (s->chunk_left == 0)
                s->part = AFTER_DATA;
        } else if (*data++ == '\n') {
            s->done = s->part == IN_SIZE && s->chunk_left == 0;
            s->part = s->part == IN_SIZE ? IN_DATA : IN_SIZE;
        } else if (s->part == IN_SIZE && data[-1] != '\r') {
            char digit = data[-1];
            s->chunk_left = s->chunk_left * 16 + (digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10);
        }
    }
}

/* Takes bytes of the head, and returns how many of `data` belonged to it. */
static size_t read_head(struct stream *s, const char *data, size_t size)
{
    size_t before = s->head_size, room = HEAD_ROOM - 1 - before;
    memcpy(s->head + before, data, size < room ? size : room);
    s->head_size += size < room ? size : room;
    char *end = strstr(s->head, "\r\n\r\n");
    if (!end)
        return size;
    if (strncmp(s->head + 9, "200", 3) != 0 || !strcasestr(s->head, "\r\nTransfer-Encoding: chunked"))
        broken(s, "no chunked 200");
    s->in_body = true;
    return end + 4 - s->head - before;
}

static void receive(struct stream *s)
{
    static char buffer[READ_SIZE];
    ssize_t size = recv(s->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    int64_t now = now_ns();
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        broken(s, size ? strerror(errno) : "closed early");
    size_t used = s->in_body ? 0 : read_head(s, buffer, size);
    if (s->in_body)
        read_chunks(s, buffer + used, size - used, now);
}

static void start(struct stream *s, int poller, int port, const char *request, size_t size)
{
    s->began = now_ns();
    s->fd = connect_to(port);
    if (send(s->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("send");
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &interest);
}

/* ---- the result ---- */

static int ascending(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void print_times(const char *name, int64_t *values, size_t count, double unit)
{
    qsort(values, count, sizeof *values, ascending);
    printf("\"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}, ", name, values[count / 2] / unit,
           values[count * 9 / 10] / unit, values[count * 99 / 100] / unit, values[count - 1] / unit);
}

static void print_result(const struct stream *all, int count)
{
    int64_t *first_events = calloc(count, sizeof *first_events), began = INT64_MAX;
    long events = 0;
    for (int i = 0; i < count; i++) {
        first_events[i] = all[i].first_event - all[i].began;
        events += all[i].events;
        if (all[i].first_event < began)
            began = all[i].first_event;
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double seconds = (last_event - began) / 1e9;
    printf("{");
    print_times("delay_us", delays, delay_count, 1e3);
    print_times("first_event_ms", first_events, count, 1e6);
    printf("\"streams\": %d, \"events\": %ld, \"seconds\": %.4f, \"events_per_second\": %.1f, \"cpu_seconds\": %.4f}\n",
           count, events, seconds, events / seconds,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

int main(int argc, char **argv)
{
    int port = 0, count = 16;
    long events = 200, rate = 100, batch = 1;
    const char *path = "/v1/chat/completions", *model = "bench";
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--port") == 0)
            port = atoi(value);
        else if (strcmp(name, "--path") == 0)
            path = value;
        else if (strcmp(name, "--model") == 0)
            model = value;
        else if (strcmp(name, "--streams") == 0)
            count = atoi(value);
        else if (strcmp(name, "--rate") == 0)
            rate = atol(value);
        else if (strcmp(name, "--events") == 0)
            events = atol(value);
        else if (strcmp(name, "--batch") == 0)
            batch = atol(value);
        else if (strcmp(name, "--skip") == 0)
            skip = atol(value);
        else
            die("streams: unknown option");
    }
    if (count < 1 || events <= skip)
        die("streams: needs streams, and more events than are skipped");

    char body[512], request[1024];
    int size = snprintf(body, sizeof body,
                        "{\"model\":\"%s\",\"stream\":true,\"rate\":%ld,\"events\":%ld,\"batch\":%ld,"
                        "\"messages\":[{\"role\":\"user\",\"content\":\"Hello.\"}]}",
                        model, rate, events, batch);
    size = snprintf(request, sizeof request,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                    "Authorization: Bearer none\r\nContent-Length: %d\r\n\r\n%s",
                    path, port, size, body);
    delays = calloc(count * (events - skip), sizeof *delays);
    struct stream *all = calloc(count, sizeof *all);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++)
        start(&all[i], poller, port, request, size);

    for (int open = count; open > 0;) {
        struct epoll_event ready[POLLED];
        int ready_count = epoll_wait(poller, ready, POLLED, 30000);
        if (ready_count == 0)
            die("streams: nothing came for 30 s");
        for (int i = 0; i < ready_count; i++) {
            struct stream *s = ready[i].data.ptr;
            receive(s);
            if (!s->done)
                continue;
            if (s->events != events)
                broken(s, "complete, but with events missing");
            close(s->fd);
            open--;
        }
    }
    print_result(all, count);
}
