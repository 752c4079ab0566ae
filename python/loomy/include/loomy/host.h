/* loomy/host.h: the pool, for other native extensions. C99, C11, C++11.
 *
 * import:  const loomy_host *host = (const loomy_host *)PyCapsule_Import(LOOMY_HOST_CAPSULE, 0);
 * The table lives as long as the process. Functions may be called with or without the GIL, from any thread
 * that Python knows or does not know; those that wait let go of the GIL if the thread has it. They return a
 * loomy_status.
 *
 * A Python error is set by wait and parallel_for alone, and only where they return LOOMY_EPYTHON to a thread
 * that has the GIL: the error of the kernel, or what a signal handler raised while the main thread waited
 * (the launch was stopped then, and has ended). Without one set, LOOMY_EPYTHON says that a kernel returned it
 * and set none. To a thread without the GIL it is a status like others, and the error is dropped. */
#ifndef LOOMY_HOST_H
#define LOOMY_HOST_H

#include "kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOOMY_HOST_CAPSULE "loomy._host_api.v1"

typedef struct loomy_pool loomy_pool;     /* opaque; the default pool is written as null */
typedef struct loomy_flight loomy_flight; /* a launch that was started; opaque */

typedef struct loomy_host {
    uint32_t struct_size, abi;
    /* The pool that all of Python shares, made at the first use, with a worker for each CPU. Null: it could
     * not be made, or the interpreter is going away. Good until the process ends. */
    loomy_pool* (*default_pool)(void);
    uint32_t (*num_workers)(loomy_pool* pool);
    /* Starts a kernel over [0, total). The descriptions of the arguments are copied, what they point to is
     * used until the launch has ended. chunks > 0: a fixed partition. On LOOMY_OK *flight is the caller's,
     * for one call of wait. */
    int (*launch)(loomy_pool* pool, const loomy_kernel* kernel, const loomy_buffer* args, uint32_t nargs,
                  int64_t total, int64_t chunks, int64_t grain, loomy_flight** flight);
    /* Asks it to stop; wait for it all the same. Null: does nothing. */
    void (*stop)(loomy_flight* flight);
    /* Waits until all its chunks have ended, takes part in it meanwhile, and frees it. Up to `size` bytes of
     * the error's message, with a 0 at the end, go to `message`, which may be null; a Python error has none.
     * Null for a flight is LOOMY_EVALUE. */
    int (*wait)(loomy_flight* flight, char* message, size_t size);
    /* fn over [begin, end) on the pool and this thread; returns when all of it has ended. */
    int (*parallel_for)(loomy_pool* pool, int64_t begin, int64_t end, int64_t grain, loomy_range_fn fn,
                        void* context);
} loomy_host;

#ifdef __cplusplus
}
#endif

#endif
