/* POSIX threads, made deep in functions that are optimised and have no frame pointers.
 * EXPECT function open_session
 */
#include <pthread.h>
#include "leak.h"

#define OUT_OF_LINE __attribute__((noinline, noclone))

static volatile int served;

static void *serve(void *client)
{
	for (;;)
		pause();
	return client;
}

OUT_OF_LINE static int open_session(long client)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, serve, (void *)client);

	served += !error;
	return error;
}

OUT_OF_LINE static int accept_client(long client)
{
	int error = open_session(client);

	served += error;
	return error;
}

OUT_OF_LINE static int run(int clients)
{
	int error = 0;

	for (long client = 1; client < clients; client++) {
		error += accept_client(client);
		usleep(2000);
	}
	return error;
}

int main(int argc, char **argv)
{
	int error = run(wanted(argc, argv));

	wait_for_end();
	return error;
}
