/* A kernel in C. */
#include <loomy/kernel.h>

static int clip(const loomy_call* call) {
    const double low = *(const double*)loomy_at(call, 1, 0);
    const double high = *(const double*)loomy_at(call, 2, 0);
    int64_t i;
    if (!(low <= high)) return loomy_fail(call, LOOMY_EVALUE, "low is %g and high only %g", low, high);
    for (i = call->begin; i < call->end; ++i) {
        double* const x = (double*)loomy_at(call, 0, i);
        if ((i & 1023) == 0 && loomy_should_stop(call)) return LOOMY_CANCELLED;
        *x = *x < low ? low : *x > high ? high : *x;
    }
    return LOOMY_OK;
}

static const loomy_kernel kernel = {
    LOOMY_KERNEL_HEADER, "clip", "x:f8[n]! low:f8 high:f8", "x = min(max(x, low), high), in place", clip, NULL, NULL,
    NULL,                0,      LOOMY_K_NOEXCEPT};

LOOMY_EXPORT const loomy_kernel* loomy_kernel_clip(void);
LOOMY_EXPORT const loomy_kernel* loomy_kernel_clip(void) { return &kernel; }
