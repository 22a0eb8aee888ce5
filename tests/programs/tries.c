// Tries to make threads: after a line of its stdin `tries COUNT` makes COUNT one after the other and waits. It writes one
// line, `made N refused M error E`: how many there are now besides the first, how many could not be made, and the last
// error. It ends with its stdin.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *wait_for_ever(void *unused) {
    pause();
    return unused;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0, made = 0, refused = 0, last = 0;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    for (int byte = getchar(); byte != '\n' && byte != EOF; byte = getchar())
        ;
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        int error = pthread_create(&thread, &small, wait_for_ever, NULL);
        if (error) {
            last = error;
            refused++;
        } else {
            made++;
        }
    }
    printf("made %d refused %d error %d\n", made, refused, last);
    fflush(stdout);
    char byte;
    _exit(read(STDIN_FILENO, &byte, 1) < 0);
}
