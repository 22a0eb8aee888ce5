// A thread that is not the leader runs a new program and takes the process over. Says the thread's id first.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *usurp(void *unused) {
    printf("%d\n", gettid());
    fflush(stdout);
    execl("/bin/true", "usurped", NULL);
    exit(9);
    return unused;
}

int main(void) {
    pthread_t thread;
    if (getchar() == EOF || pthread_create(&thread, NULL, usurp, NULL)) return 9;
    pause();
    return 9;
}
