/* Kernels in C: loomy/kernel.h and nothing else. */
#define _POSIX_C_SOURCE 200809L
#include <loomy/kernel.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KERNEL(NAME, SIGNATURE, RUN, PREPARE, FINISH, FLAGS)                                                \
    LOOMY_EXPORT const loomy_kernel *loomy_kernel_##NAME(void) {                                            \
        static const loomy_kernel kernel = {                                                                \
            LOOMY_KERNEL_HEADER, #NAME, SIGNATURE, "Kernel " #NAME ".", RUN, PREPARE, FINISH, NULL, 0, FLAGS}; \
        return &kernel;                                                                                     \
    }

static int run_saxpy(const loomy_call *call) {
    const double a = *(const double *)loomy_at(call, 2, 0);
    for (int64_t i = call->begin; i < call->end; ++i)
        *(double *)loomy_at(call, 1, i) += a * *(const double *)loomy_at(call, 0, i);
    return LOOMY_OK;
}
KERNEL(saxpy, "x:f8[n] y:f8[n]! a:f8", run_saxpy, NULL, NULL, 0)

/* The sum of x[i] * y[i]: one partial sum for each chunk, added up in their order. The same bits whoever runs. */
static int prepare_dot(const loomy_launch *launch, void **state) {
    *state = calloc((size_t)(launch->n_chunks > 0 ? launch->n_chunks : 1), sizeof(double));
    return *state != NULL ? LOOMY_OK : LOOMY_EMEMORY;
}
static int run_dot(const loomy_call *call) {
    double sum = 0;
    for (int64_t i = call->begin; i < call->end; ++i)
        sum += *(const double *)loomy_at(call, 0, i) * *(const double *)loomy_at(call, 1, i);
    ((double *)call->launch->state)[call->chunk] = sum;
    return LOOMY_OK;
}
static int finish_dot(const loomy_launch *launch, void *state, int status) {
    double sum = 0;
    for (int64_t k = 0; k < launch->n_chunks; ++k) sum += ((double *)state)[k];
    if (status == LOOMY_OK) *(double *)launch->args[2].data = sum;
    free(state);
    return LOOMY_OK;
}
KERNEL(dot, "x:f8[n] y:f8[n] out:f8[1]!", run_dot, prepare_dot, finish_dot, LOOMY_K_FIXED)

static int run_mandelbrot(const loomy_call *call) {
    const loomy_buffer *image = &call->launch->args[0];
    const int64_t height = image->shape[0], width = image->shape[1];
    const int64_t limit = *(const int64_t *)call->launch->args[1].data;
    for (int64_t row = call->begin; row < call->end; ++row) {
        if (loomy_should_stop(call)) return LOOMY_CANCELLED;
        for (int64_t column = 0; column < width; ++column) {
            const double cr = -2.0 + 3.0 * (double)column / (double)width;
            const double ci = -1.5 + 3.0 * (double)row / (double)height;
            double r = 0, i = 0;
            int64_t k = 0;
            for (; k < limit && r * r + i * i <= 4; ++k) {
                const double next = r * r - i * i + cr;
                i = 2 * r * i + ci;
                r = next;
            }
            *(int32_t *)((char *)loomy_at(call, 0, row) + column * image->strides[1]) = (int32_t)k;
        }
    }
    return LOOMY_OK;
}
KERNEL(mandelbrot, "image:i4[n,:]! limit:i8", run_mandelbrot, NULL, NULL, 0)

/* The mean of the four neighbours, by rows; the halo around the array stays as it is. */
static int run_stencil(const loomy_call *call) {
    const loomy_buffer *from = &call->launch->args[0], *to = &call->launch->args[1];
    const int64_t height = from->shape[0], width = from->shape[1];
    for (int64_t row = call->begin; row < call->end; ++row) {
        if (row == 0 || row == height - 1) continue;
        const char *above = (const char *)loomy_at(call, 0, row - 1);
        const char *here = (const char *)loomy_at(call, 0, row);
        const char *below = (const char *)loomy_at(call, 0, row + 1);
        for (int64_t k = 1; k < width - 1; ++k) {
            const int64_t step = from->strides[1];
            const double sum = *(const double *)(above + k * step) + *(const double *)(below + k * step) +
                               *(const double *)(here + (k - 1) * step) + *(const double *)(here + (k + 1) * step);
            *(double *)((char *)loomy_at(call, 1, row) + k * to->strides[1]) = sum / 4;
        }
    }
    return LOOMY_OK;
}
KERNEL(stencil, "from:f8[n,w] to:f8[n,w]!", run_stencil, NULL, NULL, 0)

/* Takes `seconds` in all and looks at each millisecond whether to stop. */
static void nap(double seconds) {
    struct timespec length = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&length, NULL);
}
static int run_poll(const loomy_call *call) {
    const double each = *(const double *)loomy_at(call, 0, 0) / (double)call->launch->total;
    for (int64_t i = call->begin; i < call->end; ++i) {
        for (double left = each; left > 0; left -= 0.001) {
            if (loomy_should_stop(call)) return LOOMY_CANCELLED;
            nap(left < 0.001 ? left : 0.001);
        }
    }
    return LOOMY_OK;
}
KERNEL(poll, "seconds:f8", run_poll, NULL, NULL, 0)

/* `seconds` for each item, which it never looks up from. Counts the items in done[0]. */
static int run_doze(const loomy_call *call) {
    for (int64_t i = call->begin; i < call->end; ++i) {
        nap(*(const double *)loomy_at(call, 0, 0));
        __atomic_fetch_add((int64_t *)loomy_at(call, 1, 0), 1, __ATOMIC_RELAXED);
    }
    return LOOMY_OK;
}
KERNEL(doze, "seconds:f8 done:i8[1]!", run_doze, NULL, NULL, 0)

static int run_fail(const loomy_call *call) {
    const int64_t code = *(const int64_t *)loomy_at(call, 0, 0);
    const int64_t at = *(const int64_t *)loomy_at(call, 1, 0);
    if (at < call->begin || at >= call->end) return LOOMY_OK;
    if (*(const uint8_t *)loomy_at(call, 2, 0) == 0) return (int)code;
    return loomy_fail(call, (int)code, "item %d is bad", (int)at);
}
KERNEL(fail, "code:i8 at:i8 says:b1", run_fail, NULL, NULL, 0)

/* Two chunks fail: that of item `first` once that of `second` runs, which fails when it is told to stop. Counts the
 * chunks that have neither in ran[0]. */
static int run_fail_twice(const loomy_call *call) {
    const int64_t first = *(const int64_t *)loomy_at(call, 0, 0), second = *(const int64_t *)loomy_at(call, 1, 0);
    int64_t *ran = loomy_at(call, 2, 0), *other_runs = loomy_at(call, 2, 1);
    double left = 20;
    if (call->begin <= first && first < call->end) {
        for (; left > 0 && __atomic_load_n(other_runs, __ATOMIC_ACQUIRE) == 0; left -= 0.0001) nap(0.0001);
        return loomy_fail(call, LOOMY_EVALUE, "the first error");
    }
    if (call->begin <= second && second < call->end) {
        __atomic_store_n(other_runs, 1, __ATOMIC_RELEASE);
        for (; left > 0 && !loomy_should_stop(call); left -= 0.0001) nap(0.0001);
        return left > 0 ? loomy_fail(call, LOOMY_EINDEX, "the second error") : LOOMY_ERROR;
    }
    __atomic_fetch_add(ran, 1, __ATOMIC_RELAXED);
    return LOOMY_OK;
}
KERNEL(fail_twice, "first:i8 second:i8 ran:i8[2]!", run_fail_twice, NULL, NULL, 0)

/* Counts each item twice over, in a nested loop. */
static int count_part(const loomy_call *call, void *context) {
    int64_t *seen = context;
    for (int64_t i = call->begin; i < call->end; ++i) __atomic_fetch_add(&seen[i], 1, __ATOMIC_RELAXED);
    return LOOMY_OK;
}
static int run_nest(const loomy_call *call) {
    int64_t *seen = call->launch->args[0].data;
    for (int64_t i = call->begin; i < call->end; ++i) {
        const int status = loomy_parallel_for(call, 0, call->launch->args[0].shape[0], 1, count_part, seen);
        if (status != LOOMY_OK) return status;
    }
    return LOOMY_OK;
}
KERNEL(nest, "seen:i8[m]c!", run_nest, NULL, NULL, 0)

/* Adds up whatever it gets as doubles; no signature, so nothing is checked but that it says what it is. */
static int run_any(const loomy_call *call) {
    if (call->launch->nargs == 0) return LOOMY_OK;
    const loomy_buffer *last = &call->launch->args[call->launch->nargs - 1];
    if (last->dtype.code != LOOMY_INT || last->dtype.bits != 64 || (last->flags & LOOMY_BUF_READONLY) != 0)
        return loomy_fail(call, LOOMY_ETYPE, "the last argument must be a writable i8");
    for (int64_t i = call->begin; i < call->end; ++i)
        __atomic_fetch_add((int64_t *)last->data, 1, __ATOMIC_RELAXED);
    return LOOMY_OK;
}
KERNEL(any, NULL, run_any, NULL, NULL, 0)

/* The bytes of a number. */
static int run_bits(const loomy_call *call) {
    const loomy_buffer *value = &call->launch->args[0];
    memcpy(call->launch->args[1].data, value->data, (size_t)value->itemsize);
    return LOOMY_OK;
}
KERNEL(bits, "value:f8 out:u1[16]!", run_bits, NULL, NULL, 0)

/* Chunk 0 makes nothing of its loop's error; chunk 5 fails for a reason of its own. */
static int refuse_part(const loomy_call *call, void *context) {
    (void)context;
    return loomy_fail(call, LOOMY_EVALUE, "the loop refuses");
}
static int run_fail_later(const loomy_call *call) {
    if (call->chunk == 0) (void)loomy_parallel_for(call, 1000, 1001, 0, refuse_part, NULL);
    return call->chunk == 5 ? LOOMY_EVALUE : LOOMY_OK;
}
KERNEL(fail_later, "", run_fail_later, NULL, NULL, LOOMY_K_SERIAL)

/* Its loop's error is its own. */
static int run_fail_in_loop(const loomy_call *call) {
    return loomy_parallel_for(call, 1000, 1001, 0, refuse_part, NULL);
}
KERNEL(fail_in_loop, "", run_fail_in_loop, NULL, NULL, 0)

/* All but the first item, and other arguments, in copies: as a kernel that calls another kernel. */
static int scale_part(const loomy_call *call, void *context) {
    (void)context;
    for (int64_t i = call->begin; i < call->end; ++i) *(double *)loomy_at(call, 0, i) *= *(double *)loomy_at(call, 1, 0);
    return LOOMY_OK;
}
static int run_scale(const loomy_call *call) {
    double *room = loomy_scratch(call, 64, 0);
    if (room == NULL) return LOOMY_EMEMORY;
    room[0] = room[7] = 1;
    if (*(double *)loomy_at(call, 1, 0) < 0) return loomy_fail(call, LOOMY_EVALUE, "negative");
    return loomy_parallel_for(call, call->begin, call->end, 1, scale_part, NULL);
}
static int run_copies(const loomy_call *call) {
    const loomy_buffer args[2] = {call->launch->args[1], call->launch->args[0]};
    loomy_launch launch = *call->launch;
    loomy_call part = *call;
    launch.args = args;
    part.launch = &launch;
    part.begin += part.begin == 0;
    return run_scale(&part);
}
KERNEL(copies, "factor:f8 y:f8[n]!", run_copies, NULL, NULL, 0)

/* How many items each chunk has. */
static int run_lengths(const loomy_call *call) {
    *(int64_t *)loomy_at(call, 0, call->chunk) = call->end - call->begin;
    return LOOMY_OK;
}
KERNEL(lengths, "out:i8[:]!", run_lengths, NULL, NULL, LOOMY_K_FIXED)

/* Counts prepare, chunks and finish, which complains if there were no chunks. */
static int prepare_count(const loomy_launch *launch, void **state) {
    int64_t *counts = launch->args[0].data;
    if (*state != NULL) return LOOMY_ERROR;
    *state = counts;
    ++counts[0];
    return LOOMY_OK;
}
static int run_count(const loomy_call *call) {
    __atomic_fetch_add((int64_t *)loomy_at(call, 0, 1), call->end - call->begin, __ATOMIC_RELAXED);
    return LOOMY_OK;
}
static int finish_count(const loomy_launch *launch, void *state, int status) {
    ++((int64_t *)state)[2];
    return status == LOOMY_OK ? status : launch->api->set_launch_error(launch, LOOMY_ERROR, "no chunks", 9);
}
KERNEL(attempts, "counts:i8[3]c!", run_count, prepare_count, finish_count, 0)
