/*
 * Sends large bodies, and feels the pulse of the proxy meanwhile.
 *
 *     bodies --port N --body FILE [--path P] [--pulse-path /health] [--times 10]
 *
 * The body is posted again and again over one connection.  Over another one, a GET goes out every 2 ms, or as soon as
 * the last one was answered: the longest it had to wait is how long the proxy did nothing but the body.  One thread does
 * both, in small steps, so that the program never waits for itself.  The result is one JSON object on stdout.
 */
#define _GNU_SOURCE
#include "common.h"
#include <poll.h>
#include <stdbool.h>

enum { STEP = 131072, ANSWER_ROOM = 65536 };
#define PULSE_NS 2000000

struct exchange {
    int fd;
    const char *head, *body;
    size_t head_size, body_size, sent;
    char answer[ANSWER_ROOM];
    size_t received;
    int64_t began; /* 0: nothing is asked */
};

static void ask(struct exchange *x, int64_t now)
{
    x->sent = x->received = 0;
    x->began = now;
}

static bool sending(const struct exchange *x)
{
    return x->began && x->sent < x->head_size + x->body_size;
}

static void send_some(struct exchange *x)
{
    bool in_head = x->sent < x->head_size;
    const char *from = in_head ? x->head + x->sent : x->body + (x->sent - x->head_size);
    size_t left = in_head ? x->head_size - x->sent : x->head_size + x->body_size - x->sent;
    ssize_t sent = send(x->fd, from, left < STEP ? left : STEP, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        die("bodies: send");
    x->sent += sent > 0 ? sent : 0;
}

/* Reads; returns whether the answer is complete. */
static bool receive_some(struct exchange *x)
{
    ssize_t size = recv(x->fd, x->answer + x->received, ANSWER_ROOM - 1 - x->received, MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return false;
    if (size <= 0)
        die("bodies: the connection was closed");
    x->received += size;
    x->answer[x->received] = 0;
    const char *end = strstr(x->answer, "\r\n\r\n"), *length = field(x->answer, "\r\nContent-Length:");
    if (!end)
        return false;
    if (strncmp(x->answer + 9, "200", 3) != 0) {
        fprintf(stderr, "bodies: no 200, but: %.300s\n", x->answer);
        exit(1);
    }
    if (length)
        return x->received >= end + 4 - x->answer + strtoul(length, NULL, 10);
    return strcmp(x->answer + x->received - 5, "0\r\n\r\n") == 0; /* the last chunk: a small answer ends so */
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) < 0)
        die(path);
    *size = ftell(file);
    rewind(file);
    char *data = malloc(*size);
    if (fread(data, 1, *size, file) != *size)
        die(path);
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    int port = 0, times = 10;
    const char *path = "/v1/chat/completions", *pulse_path = "/health", *file = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--body") == 0)
            file = argv[i + 1];
        else if (strcmp(argv[i], "--path") == 0)
            path = argv[i + 1];
        else if (strcmp(argv[i], "--pulse-path") == 0)
            pulse_path = argv[i + 1];
        else if (strcmp(argv[i], "--times") == 0)
            times = atoi(argv[i + 1]);
        else
            die("bodies: unknown option");
    }
    if (!file || times < 1)
        die("usage: bodies --port N --body FILE [--path P] [--pulse-path P] [--times N]");

    static struct exchange post, pulse;
    static char post_head[1024], pulse_head[1024];
    post.body = read_file(file, &post.body_size);
    post.head = post_head;
    post.head_size = snprintf(post_head, sizeof post_head,
                              "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                              "Authorization: Bearer none\r\nContent-Length: %zu\r\n\r\n",
                              path, port, post.body_size);
    pulse.head = pulse_head;
    pulse.head_size = snprintf(pulse_head, sizeof pulse_head, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", pulse_path,
                               port);
    post.fd = connect_to(port);
    pulse.fd = connect_to(port);

    int64_t longest = 0, now = now_ns();
    ask(&post, now);
    ask(&pulse, now);
    printf("{\"body_ms\": [");
    for (int done = 0; done < times || pulse.began;) {
        struct pollfd ready[] = {{post.fd, POLLIN | (sending(&post) ? POLLOUT : 0), 0}, {pulse.fd, POLLIN, 0}};
        poll(ready, 2, 1);
        if (sending(&pulse))
            send_some(&pulse);
        if ((ready[1].revents & POLLIN) && receive_some(&pulse)) {
            now = now_ns();
            longest = now - pulse.began > longest ? now - pulse.began : longest;
            pulse.began = -pulse.began; /* answered */
        }
        if (pulse.began < 0) { /* time for the next one? */
            now = now_ns();
            if (done == times)
                pulse.began = 0;
            else if (now + pulse.began >= PULSE_NS)
                ask(&pulse, now);
        }
        if (ready[0].revents & POLLOUT)
            send_some(&post);
        if ((ready[0].revents & POLLIN) && receive_some(&post)) {
            now = now_ns();
            printf("%s%.3f", done ? ", " : "", (now - post.began) / 1e6);
            post.began = 0;
            if (++done < times)
                ask(&post, now);
        }
    }
    printf("], \"longest_pulse_ms\": %.3f}\n", longest / 1e6);
}
