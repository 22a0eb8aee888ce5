// `borrower UID`: takes on a uid as effective only, runs a program under it, makes a child, says "done" and lives
// until stdin ends: what services do, and no `su`.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 2) return 1;
    if (strcmp(argv[1], "again")) {
        if (setresuid(-1, atoi(argv[1]), -1)) return 2;
        execl("/proc/self/exe", argv[0], "again", NULL);
        return 3;
    }
    pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || waitpid(child, NULL, 0) != child) return 4;
    printf("done\n");
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
