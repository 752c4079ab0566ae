/* A kernel as a C library has it. Compiled as C99, as C11 and as C++11: the header must be all three. */
#include "loomy/host.h"

typedef char call_begins_with_its_size[offsetof(loomy_call, struct_size) == 0 ? 1 : -1];
typedef char launch_begins_with_its_size[offsetof(loomy_launch, struct_size) == 0 ? 1 : -1];
typedef char api_begins_with_its_size[offsetof(loomy_api, struct_size) == 0 ? 1 : -1];
typedef char kernel_begins_with_its_size[offsetof(loomy_kernel, struct_size) == 0 ? 1 : -1];
typedef char host_begins_with_its_size[offsetof(loomy_host, struct_size) == 0 ? 1 : -1];
/* What version 1.0 laid down: only appending is allowed. */
typedef char dtype_is_that_of_dlpack[sizeof(loomy_dtype) == 4 ? 1 : -1];
typedef char buffer_layout[sizeof(void *) != 8 || sizeof(loomy_buffer) == 48 ? 1 : -1];
typedef char call_layout[sizeof(void *) != 8 || offsetof(loomy_call, launch) == 32 ? 1 : -1];
typedef char launch_layout[sizeof(void *) != 8 || offsetof(loomy_launch, state) == 64 ? 1 : -1];
typedef char call_host[sizeof(void *) != 8 || offsetof(loomy_call, host) == 40 ? 1 : -1];
typedef char launch_host[sizeof(void *) != 8 || offsetof(loomy_launch, host) == 72 ? 1 : -1];
typedef char api_layout[sizeof(void *) != 8 || offsetof(loomy_api, set_launch_error) == 48 ? 1 : -1];
typedef char kernel_layout[sizeof(void *) != 8 || offsetof(loomy_kernel, flags) == 72 ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif
const loomy_kernel *LOOMY_TEST_NAME(void);
#ifdef __cplusplus
}
#endif

static int scale(const loomy_call *call) {
    int64_t i;
    const double factor = *(const double *)loomy_at(call, 1, 0);
    for (i = call->begin; i < call->end; ++i) {
        if ((i & 255) == 0 && loomy_should_stop(call)) return LOOMY_CANCELLED;
        *(double *)loomy_at(call, 0, i) *= factor;
    }
    if (factor < 0) return loomy_fail(call, LOOMY_EVALUE, "the factor is %g", factor);
    return LOOMY_OK;
}

static const loomy_kernel scale_kernel = {
    LOOMY_KERNEL_HEADER, "scale", "y:f8[n]! factor:f8", "y *= factor", scale, NULL, NULL, NULL, 0, LOOMY_K_NOEXCEPT};

LOOMY_EXPORT const loomy_kernel *LOOMY_TEST_NAME(void) { return &scale_kernel; }
