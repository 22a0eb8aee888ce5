// A pool of threads without any thread library, linked statically, as Go and musl have them: nobody but the kernel
// knows that there are any.
#include "pool.h"
#include <sys/mman.h>

enum { STACK = 16 << 10 };

static int worker(void *unused) {
    (void)unused;
    wait_for_end();
    return 0;
}

static void start(void) {
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (stack == MAP_FAILED || clone(worker, stack + STACK, flags, NULL) < 0) exit(4);
}

int main(void) { obey(start); }
