/* The program whose output every subject keeps: numbered lines, as fast as the pipe takes them or at a steady rate.
 *
 * usage: log-bench-child FIFO INDEX GATE LINES BYTES MODE
 *
 * A line has BYTES bytes with its newline: `#0007 000000123 aaa…`, the program and the number of the line from 0, so
 * that each can be found again. MODE: `bulk` writes blocks of whole lines, as large as a pipe; `line` one line a call;
 * `json` is bulk of JSON objects; `paced` ten lines, one a call, each 10 ms; `flood` is bulk without end; `silent` one
 * line and then nothing. It tells the rig its birth (see child.c), waits until GATE, a FIFO, has a writer, writes, tells
 * when it is done, and waits for ever. Blocks are made once; only the digits in them change while it writes.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIPE_BYTES = 64 * 1024, INDEX_DIGITS = 4, NUMBER_DIGITS = 9, BURST = 10, BURST_NANOSECONDS = 10000000 };

/* The index of a program that is done: as its birth, with this added. */
static const uint32_t DONE = 1u << 31;

struct news {
    uint64_t stamp_nanoseconds;
    uint32_t pid;
    uint32_t index;
};

static void tell(int fifo, uint32_t index) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct news news = {(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, (uint32_t)getpid(), index};
    if (write(fifo, &news, sizeof news) != sizeof news)
        _exit(3);
}

static void put(const char *from, size_t count) {
    while (count > 0) {
        ssize_t written = write(STDOUT_FILENO, from, count);
        if (written <= 0)
            _exit(4);
        from += written;
        count -= (size_t)written;
    }
}

static void digits(char *place, int count, uint64_t number) {
    for (; count > 0; number /= 10)
        place[--count] = (char)('0' + number % 10);
}

int main(int words, char **word) {
    if (words != 7)
        return 2;
    uint32_t index = (uint32_t)strtoul(word[2], NULL, 10);
    uint64_t lines = strtoull(word[4], NULL, 10);
    size_t bytes = strtoull(word[5], NULL, 10);
    const char *mode = word[6];
    int is_json = !strcmp(mode, "json"), is_paced = !strcmp(mode, "paced"), is_flood = !strcmp(mode, "flood");
    if (!strcmp(mode, "silent"))
        lines = 1;

    const char *head = is_json ? "{\"timestamp\":\"2026-11-21T09:00:00.123456Z\",\"level\":\"info\",\"user\":42,\"message\":\"#" : "#";
    const char *tail = is_json ? "\"}\n" : "\n";
    size_t before = strlen(head), after = strlen(tail), fixed = before + INDEX_DIGITS + 1 + NUMBER_DIGITS + 1 + after;
    if (bytes < fixed || bytes > PIPE_BYTES)
        return 2;
    size_t number_at = before + INDEX_DIGITS + 1;
    uint64_t in_block = !strcmp(mode, "line") || is_paced ? 1 : PIPE_BYTES / bytes;
    char *block = malloc(in_block * bytes);
    if (!block)
        return 2;
    for (uint64_t i = 0; i < in_block; i++) {
        char *line = block + i * bytes;
        memset(line, 'a', bytes);
        memcpy(line, head, before);
        digits(line + before, INDEX_DIGITS, index);
        line[number_at - 1] = line[number_at + NUMBER_DIGITS] = ' ';
        memcpy(line + bytes - after, tail, after);
    }

    int fifo = open(word[1], O_WRONLY);
    if (fifo < 0)
        return 3;
    tell(fifo, index);
    int gate = open(word[3], O_RDONLY);
    if (gate < 0)
        return 3;
    close(gate);

    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    tell(fifo, index); /* its second birth: the moment of its first write */
    for (uint64_t number = 0; number < lines || is_flood;) {
        uint64_t count = is_flood || lines - number > in_block ? in_block : lines - number;
        for (uint64_t i = 0; i < count; i++)
            digits(block + i * bytes + number_at, NUMBER_DIGITS, number + i);
        put(block, count * bytes);
        number += count;
        if (is_paced && number % BURST == 0) {
            next.tv_nsec += BURST_NANOSECONDS;
            if (next.tv_nsec >= 1000000000) {
                next.tv_nsec -= 1000000000;
                next.tv_sec++;
            }
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        }
    }
    tell(fifo, index | DONE);
    for (;;)
        pause();
}
