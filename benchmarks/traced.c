/*
 * Runs a model server and writes down when what happened, to the tenth of a millisecond or so.
 *
 *     traced --journal FILE --name NAME --port N -- COMMAND...
 *
 * Each line of the journal is one JSON object {"name", "event", "ns"}, ns being CLOCK_MONOTONIC; the events are
 *
 *     exec     this program began; it starts COMMAND at once
 *     ready    GET /health on the port was first answered with 200; asked again each half millisecond
 *     term     SIGTERM came; COMMAND, in the same process group, has got it too
 *     exit     COMMAND has exited; this program follows with its status
 */
#define _GNU_SOURCE
#include "common.h"
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PROBE_PAUSE_NS 500000

static int journal;
static const char *name = "";

static void note(const char *event)
{
    char line[256];
    int size = snprintf(line, sizeof line, "{\"name\": \"%s\", \"event\": \"%s\", \"ns\": %lld}\n", name, event,
                        (long long)now_ns());
    if (write(journal, line, size) != size) /* one write in append mode: processes share the file */
        die("traced: journal");
}

static bool is_healthy(int port)
{
    static const char request[] = "GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {.tv_usec = 200000};
    char answer[64] = "";
    int fd = tcp_socket(0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    bool healthy = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                   send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 &&
                   recv(fd, answer, sizeof answer - 1, 0) > 12 && strncmp(answer + 9, "200", 3) == 0;
    close(fd);
    return healthy;
}

static void run(char **command, const sigset_t *signals)
{
    sigprocmask(SIG_UNBLOCK, signals, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(command[0], command);
    die(command[0]);
}

int main(int argc, char **argv)
{
    int port = 0, at = 1;
    for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
        if (strcmp(argv[at], "--journal") == 0)
            journal = open(argv[at + 1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        else if (strcmp(argv[at], "--name") == 0)
            name = argv[at + 1];
        else if (strcmp(argv[at], "--port") == 0)
            port = atoi(argv[at + 1]);
    }
    if (journal <= 0 || !port || at + 1 >= argc)
        die("usage: traced --journal FILE --name NAME --port N -- COMMAND...");
    note("exec");

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_TIMERSLACK, 1UL);
    pid_t child = fork();
    if (child == 0)
        run(argv + at + 1, &signals);

    for (bool ready = false, asked = false;;) {
        struct timespec pause = {.tv_nsec = PROBE_PAUSE_NS};
        int got = ready || asked ? sigwaitinfo(&signals, NULL) : sigtimedwait(&signals, NULL, &pause);
        if (got == SIGTERM) {
            asked = true;
            note("term");
        } else if (got == SIGCHLD) {
            int status;
            if (waitpid(child, &status, WNOHANG) != child)
                continue;
            note("exit");
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        } else if (!ready && is_healthy(port)) {
            ready = true;
            note("ready");
        }
    }
}
