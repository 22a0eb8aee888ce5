// How many threads this process has.
#define _GNU_SOURCE
#include <dirent.h>
#include <stdlib.h>

// The kernel's own count.
static int threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) exit(3);
    for (struct dirent *task; (task = readdir(tasks));) count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}
