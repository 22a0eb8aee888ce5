// What the thread pools have in common. They obey lines on stdin and answer each with the number of threads they have
// then:
//   have N  threads begin or end until the process has N
//   end     the process ends, threads and all
#include "count.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int work[2];

// A worker ends when it has read one byte.
static void wait_for_end(void) {
    char byte;
    if (read(work[0], &byte, 1) != 1) _exit(3);
}

static void obey(void (*start)(void)) {
    char order[32];
    int wanted, has = 1;
    if (pipe(work)) exit(3);
    while (scanf("%31s", order) == 1 && strcmp(order, "end")) {
        if (scanf("%d", &wanted) != 1) exit(3);
        for (; has < wanted; has++) start();
        for (; has > wanted; has--)
            if (write(work[1], "", 1) != 1) exit(3);
        while (threads() != wanted) sched_yield();
        printf("%d\n", wanted);
        fflush(stdout);
    }
    // All threads at once.
    _exit(0);
}
