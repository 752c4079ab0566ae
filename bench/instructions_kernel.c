/* What bench/instructions_job.py calls while its instructions are counted. */
#include <stddef.h>
#include <valgrind/callgrind.h>

/* A range kernel with nothing to do: what is left is what handing out a chunk costs. */
int nothing(ptrdiff_t begin, ptrdiff_t end, void *user) {
    (void)begin, (void)end, (void)user;
    return 0;
}

/* Writes down what the calling thread took since it was last here, under this name. */
void mark(const char *name) {
    CALLGRIND_DUMP_STATS_AT(name);
}
