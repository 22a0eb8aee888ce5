/* What all of the programs in C share: the end of a leak. */
#ifndef LEAK_H
#define LEAK_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int wanted(int argc, char **argv)
{
	return argc > 1 ? atoi(argv[1]) : 100;
}

static void wait_for_end(void)
{
	puts("full");
	fflush(stdout);
	while (getchar() != EOF)
		;
}
#endif
