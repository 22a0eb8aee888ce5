// What a service does on behalf of a user: `flipflop UID MS` takes on the uid as effective only, makes a child, gives
// it back and waits MS, again and again until it is killed. The first time round it says "on".
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) return 1;
    long ms = atol(argv[2]);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    for (long turn = 0;; turn++) {
        if (seteuid(atoi(argv[1]))) return 2;
        pid_t child = fork();
        if (child == 0) {
            execl("/bin/true", "true", NULL);
            _exit(4);
        }
        if (child < 0 || waitpid(child, NULL, 0) != child || seteuid(0)) return 3;
        if (turn == 0) {
            printf("on\n");
            fflush(stdout);
        }
        nanosleep(&time, NULL);
    }
}
