/* The program that every subject keeps alive.
 *
 * usage: bench-child FIFO INDEX [exit]
 *
 * Its first act is to read the monotonic clock; then it tells the rig (stamp, pid, index) with one write that the
 * kernel keeps whole, and waits for ever, or exits with 1 when told so. SIGTERM and SIGINT end it at once, by their
 * default action. No C library: nothing runs before the clock is read, and an idle one costs the machine a few pages.
 */
#if defined(__x86_64__)
enum { SYS_write = 1, SYS_close = 3, SYS_getpid = 39, SYS_exit = 60, SYS_clock_gettime = 228, SYS_openat = 257,
       SYS_ppoll = 271 };
static long call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_close = 57, SYS_getpid = 172, SYS_exit = 93, SYS_clock_gettime = 113, SYS_openat = 56,
       SYS_ppoll = 73 };
static long call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
__asm__(".globl _start\n_start: mov x29, #0\n mov x0, sp\n bl begin\n");
#else
#error "bench/child.c has no system calls for this processor"
#endif

enum { AT_FDCWD = -100, O_WRONLY = 1, CLOCK_MONOTONIC = 1 };

struct birth {
    unsigned long stamp_nanoseconds;
    unsigned int pid;
    unsigned int index;
};

__attribute__((used)) void begin(long *stack) {
    long now[2];
    call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)now, 0, 0);

    long words = stack[0];
    char **word = (char **)(stack + 1);
    if (words < 3)
        call(SYS_exit, 2, 0, 0, 0);
    struct birth birth = {(unsigned long)now[0] * 1000000000UL + (unsigned long)now[1], 0, 0};
    birth.pid = (unsigned int)call(SYS_getpid, 0, 0, 0, 0);
    for (char *digit = word[2]; *digit; digit++)
        birth.index = birth.index * 10 + (unsigned int)(*digit - '0');
    long fifo = call(SYS_openat, AT_FDCWD, (long)word[1], O_WRONLY, 0);
    if (fifo < 0 || call(SYS_write, fifo, (long)&birth, sizeof birth, 0) != sizeof birth)
        call(SYS_exit, 3, 0, 0, 0);
    call(SYS_close, fifo, 0, 0, 0);

    if (words > 3)
        call(SYS_exit, 1, 0, 0, 0);
    for (;;)
        call(SYS_ppoll, 0, 0, 0, 0);
}
