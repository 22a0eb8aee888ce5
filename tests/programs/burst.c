// What an `su`'ed test run does: `burst CHILDREN MS` makes that many children before it does anything else; every
// second one runs this program anew. Each writes one line: where it was when it began, and where when it ended MS
// later: `child CGROUP CGROUP`. The first process does the same when they have all been reaped: `first CGROUP CGROUP`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1024 };

// Path of the own cgroup in the v2 hierarchy.
static void where(char *path) {
    char text[4 * ROOM];
    int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(file, text, sizeof text - 1);
    if (file < 0 || length <= 0) _exit(3);
    close(file);
    text[length] = 0;
    char *begin = strstr(text, "0::");
    if (!begin || sscanf(begin + 3, "%1023[^\n]", path) != 1) _exit(4);
}

static void tell(const char *who, const char *begin) {
    char end[ROOM], line[3 * ROOM];
    where(end);
    int length = snprintf(line, sizeof line, "%s %s %s\n", who, begin, end);
    // One write is one line, whoever else writes.
    if (write(STDOUT_FILENO, line, length) != length) _exit(5);
}

static void live(const char *begin, long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
    tell("child", begin);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "anew")) live(argv[2], atol(argv[3]));
    if (argc != 3) return 1;
    long children = atol(argv[1]);
    for (long i = 0; i < children; i++) {
        pid_t child = fork();
        if (child < 0) return 2;
        if (child > 0) continue;
        char begin[ROOM];
        where(begin);
        if (i % 2) execl("/proc/self/exe", argv[0], "anew", begin, argv[2], NULL);
        live(begin, atol(argv[2]));
    }
    char begin[ROOM];
    where(begin);
    while (wait(NULL) > 0) {}
    tell("first", begin);
    return 0;
}
