// A pool of glibc's threads.
#include "pool.h"
#include <pthread.h>

static void *worker(void *unused) {
    wait_for_end();
    return unused;
}

static void start(void) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &small, worker, NULL)) exit(4);
    pthread_attr_destroy(&small);
}

int main(void) { obey(start); }
