// Makes threads that end at once, as fast as it can, one pair at a time, for so many milliseconds: `spins MS`,
// beginning when a line comes on stdin. Says how many there were, and lives until stdin ends.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void *nothing(void *unused) { return unused; }

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    long made = 0;
    if (getchar() == EOF) return 1;
    for (long end = now_ms() + (argc > 1 ? atol(argv[1]) : 0); now_ms() < end;) {
        pthread_t pair[2];
        for (int i = 0; i < 2; i++)
            if (pthread_create(&pair[i], NULL, nothing, NULL)) return 2;
        for (int i = 0; i < 2; i++) pthread_join(pair[i], NULL);
        made += 2;
    }
    printf("%ld\n", made);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
