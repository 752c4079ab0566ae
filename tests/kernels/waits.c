/* Waits for a counter, for a test that must not touch the interpreter meanwhile. */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <time.h>

__attribute__((visibility("default"))) int wait_for_count(int64_t *counter, int64_t count) {
    const struct timespec moment = {0, 200000};
    for (int k = 0; k < 100000; ++k) {
        if (__atomic_load_n(counter, __ATOMIC_ACQUIRE) >= count) return 0;
        nanosleep(&moment, NULL);
    }
    return -1;
}
