// `becomes UID PROGRAM …`: takes on a uid, says its pid and waits for a line before it runs the program: what `su` is
// between its change of uid and its exec. If the program cannot be run it runs what comes after it.
#define _GNU_SOURCE
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3) return 1;
    uid_t uid = atoi(argv[1]);
    if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) return 2;
    printf("in %d\n", getpid());
    fflush(stdout);
    while (getchar() != '\n') {}
    for (char **next = argv + 2; *next; next++) {
        execvpe(*next, next, environ);
    }
    return 3;
}
