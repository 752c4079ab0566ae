/* The kernel whose chunks and launches are counted: a range function that does nothing. */
#include <stdint.h>

int nothing(intptr_t begin, intptr_t end, void *user) {
    (void)begin, (void)end, (void)user;
    return 0;
}
