// A crowd of which all end in one moment. Its memory is locked meanwhile (fork copies its tables, and there are many): before
// Linux 6.16 the threads leave the count of the living, wait for the lock, and are seen to end when none is counted any more.
//   scatter  it grows to 300 threads and falls to one; that is answered with "1"
#include "count.h"
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 16 << 10, THREADS = 300 };
static const size_t MEMORY = (size_t)256 << 20;

static int gate, locked;

static int worker(void *unused) {
    (void)unused;
    while (!__atomic_load_n(&gate, __ATOMIC_ACQUIRE)) syscall(SYS_futex, &gate, FUTEX_WAIT, 0, NULL, NULL, 0);
    return 0;
}

// Lets the others go when the lock is about to be held.
static int usher(void *unused) {
    (void)unused;
    while (!__atomic_load_n(&locked, __ATOMIC_ACQUIRE));
    __atomic_store_n(&gate, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &gate, FUTEX_WAKE, THREADS, NULL, NULL, 0);
    return 0;
}

static char *memory(size_t size, int more) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
    if (memory == MAP_FAILED) exit(4);
    return memory;
}

static void scatter(char *stacks) {
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    gate = locked = 0;
    for (int i = 1; i < THREADS; i++)
        if (clone(i > 1 ? worker : usher, stacks + (size_t)i * STACK, flags, NULL) < 0) exit(4);
    while (threads() != THREADS) sched_yield();
    __atomic_store_n(&locked, 1, __ATOMIC_RELEASE);
    pid_t child = fork();
    if (child < 0) exit(4);
    if (!child) _exit(0);
    waitpid(child, NULL, 0);
    while (threads() != 1) sched_yield();
}

int main(void) {
    char order[32];
    char *stacks = memory((size_t)THREADS * STACK, 0);
    char *many = memory(MEMORY, 0);
    // Small pages: they have tables to be copied.
    if (madvise(many, MEMORY, MADV_NOHUGEPAGE)) exit(4);
    memset(many, 1, MEMORY);
    while (scanf("%31s", order) == 1) {
        scatter(stacks);
        puts("1");
        fflush(stdout);
    }
}
