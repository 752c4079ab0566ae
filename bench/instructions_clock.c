/* The monotonic clock while instructions are counted: 100 ns pass with each look at it. Under valgrind everything
 * takes fifty times as long, so with the real one loomy would take jobs for long ones and count other paths. It is
 * far ahead of the real one: a wait until a moment of this one does not end early, let alone at once. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static _Atomic long long looks;
    if (clock != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, clock, now);
    long long ns = 1000000000000000000LL + 100 * ++looks;
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}
