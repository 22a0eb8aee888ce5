/* A library that makes a thread for each request; c_library_main.c uses it.
 * EXPECT function session_watch
 */
#include <pthread.h>
#include <unistd.h>

int session_open(const char *name);

static void *watch(void *session)
{
	pause();
	return session;
}

__attribute__((noinline)) static int session_watch(const char *name)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, watch, (void *)name);

	return error ? error : pthread_detach(thread);
}

int session_open(const char *name)
{
	int error = session_watch(name);

	return error ? -1 : 0;
}
