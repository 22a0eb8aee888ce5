// A life of which every step is known. Begins when a line comes on stdin, says `step pid` for each process it makes,
// and waits for each before the next.
#include "count.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t begin(const char *step) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) exit(9);
    if (child > 0) {
        printf("%s %d\n", step, child);
        if (waitpid(child, NULL, 0) != child) exit(9);
    }
    return child;
}

static void *nothing(void *unused) { return unused; }

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "seven")) return 7;
    if (argc == 3 && !strcmp(argv[1], "second")) {
        if (begin("third") == 0) execl(argv[0], "a third", "seven", NULL);
        return 0;
    }
    if (getchar() == EOF) return 1;
    if (begin("second") == 0) execl(argv[0], argv[0], "second", "two words", NULL);
    if (begin("killed") == 0) return raise(SIGKILL);
    if (begin("faulted") == 0) {
        // Whatever handler there may be: the default action.
        signal(SIGSEGV, SIG_DFL);
        return raise(SIGSEGV);
    }
    if (begin("aborted") == 0) abort();
    if (begin("threaded") == 0) {
        for (int i = 0; i < 2; i++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL)) return 9;
            // It is joined before the kernel has stopped counting it.
            while (threads() != 1) sched_yield();
        }
        return 0;
    }
    fflush(stdout);
    return 0;
}
