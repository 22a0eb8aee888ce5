/* Threads by the bare system call, without any C library's help.
 * EXPECT function spawn_raw
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "leak.h"

#define STACK 16384
#define OUT_OF_LINE __attribute__((noinline, noclone))

static volatile long made;

/* Its stack has nothing to return to. */
OUT_OF_LINE static long spawn_raw(char *top)
{
	long tid;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n"
			 "0:\tmov %[pause], %%eax\n\t"
			 "syscall\n\t"
			 "jmp 0b\n"
			 "1:"
			 : "=a"(tid)
			 : "a"(SYS_clone), "D"(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM),
			   "S"(top), "d"(0), "r"(r10), "r"(r8), [pause] "i"(SYS_pause)
			 : "rcx", "r11", "memory");
	made += tid > 0;
	return tid;
}

OUT_OF_LINE static int grow(void)
{
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return stack == MAP_FAILED || spawn_raw(stack + STACK) < 0;
}

int main(int argc, char **argv)
{
	int error = 0;

	for (int threads = wanted(argc, argv); threads > 1; threads--) {
		error += grow();
		usleep(2000);
	}
	wait_for_end();
	return error;
}
