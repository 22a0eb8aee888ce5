/* POSIX threads in code that is not optimised.
 * EXPECT function start_worker
 */
#include <pthread.h>
#include "leak.h"

static void *work(void *unused)
{
	pause();
	return unused;
}

static void start_worker(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	pthread_create(&thread, &attributes, work, NULL);
}

static void start_workers(int count)
{
	while (--count > 0) {
		start_worker();
		usleep(2000);
	}
}

int main(int argc, char **argv)
{
	start_workers(wanted(argc, argv));
	wait_for_end();
	return 0;
}
