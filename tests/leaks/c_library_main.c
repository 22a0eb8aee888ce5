/* Uses the library of c_library.c. */
#include "leak.h"

int session_open(const char *name);

int main(int argc, char **argv)
{
	int error = 0;

	for (int sessions = wanted(argc, argv); sessions > 1; sessions--) {
		error += session_open("a session");
		usleep(2000);
	}
	wait_for_end();
	return error;
}
