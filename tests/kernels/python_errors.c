/* Kernels that call a Python function, their user data, and leave the error that it raises on their thread. What they
 * need of Python is declared here: its headers are not everywhere that tests run. */
#include <loomy/kernel.h>

extern int PyGILState_Ensure(void);
extern void PyGILState_Release(int state);
extern void *PyObject_CallNoArgs(void *callable);
extern void Py_DecRef(void *object);

#define KERNEL(NAME, SIGNATURE, RUN, PREPARE, FINISH)                                                          \
    LOOMY_EXPORT const loomy_kernel *loomy_kernel_##NAME(void) {                                               \
        static const loomy_kernel kernel = {                                                                   \
            LOOMY_KERNEL_HEADER, #NAME, SIGNATURE, NULL, RUN, PREPARE, FINISH, NULL, 0, LOOMY_K_USES_PYTHON}; \
        return &kernel;                                                                                        \
    }

static void call_python(const loomy_launch *launch) {
    const int state = PyGILState_Ensure();
    void *result = PyObject_CallNoArgs(launch->user_data);
    if (result != NULL) Py_DecRef(result);
    PyGILState_Release(state);
}

static int run_leave(const loomy_call *call) {
    call_python(call->launch);
    return (int)*(const int64_t *)loomy_at(call, 0, 0);
}
KERNEL(leave, "status:i8", run_leave, NULL, NULL)

static int leave_part(const loomy_call *call, void *context) {
    call_python(call->launch);
    return *(const int *)context;
}

/* The loop fails, and the chunk makes nothing of it. */
static int run_forgive(const loomy_call *call) {
    int status = LOOMY_EPYTHON;
    return loomy_parallel_for(call, 0, 1, 0, leave_part, &status) == status ? LOOMY_OK : LOOMY_ERROR;
}
KERNEL(forgive, "", run_forgive, NULL, NULL)

/* The loop fails, and the chunk for another reason. */
static int run_replace(const loomy_call *call) {
    int status = LOOMY_EPYTHON;
    (void)loomy_parallel_for(call, 0, 1, 0, leave_part, &status);
    return LOOMY_EINDEX;
}
KERNEL(replace, "", run_replace, NULL, NULL)

static int run_nothing(const loomy_call *call) {
    (void)call;
    return LOOMY_OK;
}
static int prepare_leave(const loomy_launch *launch, void **state) {
    (void)state;
    call_python(launch);
    return LOOMY_OK;
}
static int finish_leave(const loomy_launch *launch, void *state, int status) {
    (void)state;
    call_python(launch);
    return status;
}
static int run_fail(const loomy_call *call) {
    return loomy_fail(call, LOOMY_EVALUE, "the chunk");
}
KERNEL(leave_in_prepare, "", run_nothing, prepare_leave, NULL)
KERNEL(leave_in_finish, "", run_nothing, NULL, finish_leave)
KERNEL(fail_and_leave_in_finish, "", run_fail, NULL, finish_leave)

/* For loomy/host.h, whose launches have no user data but the kernel's own. */
static int run_leave_ok(const loomy_call *call) {
    call_python(call->launch);
    return LOOMY_OK;
}
LOOMY_EXPORT const loomy_kernel *make_leaving_kernel(void *callable) {
    static loomy_kernel kernel = {
        LOOMY_KERNEL_HEADER, "leaving", NULL, NULL, run_leave_ok, NULL, NULL, NULL, 0, LOOMY_K_USES_PYTHON};
    kernel.user_data = callable;
    return &kernel;
}
