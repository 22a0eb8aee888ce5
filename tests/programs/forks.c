// Makes short-lived children as fast as it can: `forks N`, beginning when a line comes on stdin. Says how many there
// were when the last one has been reaped, and lives until stdin ends.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AT_ONCE = 64 };

int main(int argc, char **argv) {
    long wanted = argc > 1 ? atol(argv[1]) : 0, running = 0;
    if (getchar() == EOF) return 1;
    for (long made = 0; made < wanted; made++) {
        pid_t child = fork();
        if (child < 0) return 2;
        if (child == 0) _exit(0);
        if (++running == AT_ONCE) {
            if (wait(NULL) < 0) return 3;
            running--;
        }
    }
    while (running-- > 0)
        if (wait(NULL) < 0) return 3;
    printf("%ld\n", wanted);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
