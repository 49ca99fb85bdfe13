/* The floor: the least a parent can do. It starts COUNT programs, starts each again the moment it ends, and on SIGTERM
 * ends them all and leaves when the last one is gone. No names, no state, no output, no words.
 *
 * usage: floor COUNT PROGRAM ARGS...     the word @ among ARGS becomes the number of the program, 0 to COUNT - 1
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t *kept;
static int count;
static volatile sig_atomic_t stopping;

static void on_term(int signal) {
    stopping = signal;
    for (int i = 0; i < count; i++)
        if (kept[i] > 0)
            kill(kept[i], SIGTERM);
}

static void start(int i, char **command) {
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before); /* so that no program slips in between fork and its place in the list */
    if (!stopping && (kept[i] = fork()) == 0) {
        char number[12];
        snprintf(number, sizeof number, "%d", i);
        for (char **word = command; *word; word++)
            if (!strcmp(*word, "@"))
                *word = number;
        signal(SIGTERM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        execv(command[0], command);
        _exit(127);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(int words, char **word) {
    if (words < 3 || !(kept = calloc(count = atoi(word[1]), sizeof *kept)))
        return 2;
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term, .sa_flags = SA_RESTART}, NULL);
    for (int i = 0; i < count; i++)
        start(i, word + 2);
    for (pid_t gone; (gone = wait(NULL)) > 0;)
        for (int i = 0; i < count; i++)
            if (kept[i] == gone) {
                kept[i] = 0;
                start(i, word + 2);
                break;
            }
    return 0;
}
