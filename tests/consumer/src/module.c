/* The extension module: capsules for Python to launch, and functions that launch by themselves. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <loomy/host.h>
#include <string.h>

LOOMY_EXPORT const loomy_kernel* loomy_kernel_clip(void);
LOOMY_EXPORT const loomy_kernel* loomy_kernel_saxpy(void);
LOOMY_EXPORT const loomy_kernel* loomy_kernel_partial_sums(void);

static const loomy_host* host;

static int is_doubles(const Py_buffer* view) {
    if (view->ndim == 1 && view->itemsize == 8 && view->format != NULL && strcmp(view->format, "d") == 0) return 1;
    PyErr_SetString(PyExc_TypeError, "x must be a one-dimensional array of doubles");
    return 0;
}

static PyObject* raise_status(int status, const char* message) {
    switch (status) {
        case LOOMY_EPYTHON: /* set already */
            break;
        case LOOMY_EVALUE:
            PyErr_SetString(PyExc_ValueError, message);
            break;
        case LOOMY_EMEMORY:
            PyErr_NoMemory();
            break;
        default:
            PyErr_Format(PyExc_RuntimeError, "status %d: %s", status, message);
    }
    return NULL;
}

/* clip(x, low, high): a launch on the default pool. */
static PyObject* clip(PyObject* self, PyObject* args) {
    PyObject* object;
    double low, high;
    Py_buffer view;
    char message[200] = "";
    int status;
    (void)self;
    if (!PyArg_ParseTuple(args, "Odd", &object, &low, &high)) return NULL;
    if (PyObject_GetBuffer(object, &view, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) return NULL;
    if (!is_doubles(&view)) {
        PyBuffer_Release(&view);
        return NULL;
    } else {
        const int64_t length = view.shape[0], step = view.strides[0];
        const loomy_dtype f8 = {LOOMY_FLOAT, 64, 1};
        const loomy_buffer buffers[3] = {
            {view.buf, &length, &step, 1, f8, 8, LOOMY_BUF_ALIGNED, 0},
            {&low, NULL, NULL, 0, f8, 8, LOOMY_BUF_ALIGNED | LOOMY_BUF_READONLY, 0},
            {&high, NULL, NULL, 0, f8, 8, LOOMY_BUF_ALIGNED | LOOMY_BUF_READONLY, 0}};
        loomy_flight* flight;
        status = host->launch(NULL, loomy_kernel_clip(), buffers, 3, length, 0, 0, &flight);
        if (status == LOOMY_OK) status = host->wait(flight, message, sizeof message);
    }
    PyBuffer_Release(&view);
    if (status != LOOMY_OK) return raise_status(status, message);
    Py_RETURN_NONE;
}

struct sum {
    int64_t fails_at;
    int64_t parts[64][8]; /* one for each worker, each on a cache line of its own */
};

static int add_inner(const loomy_call* call, void* context) {
    int64_t* const total = (int64_t*)context;
    int64_t i, sum = 0;
    for (i = call->begin; i < call->end; ++i) sum += i;
    __atomic_fetch_add(total, sum, __ATOMIC_RELAXED);
    return LOOMY_OK;
}

static int add_up(const loomy_call* call, void* context) {
    struct sum* const all = (struct sum*)context;
    int64_t i;
    if (call->worker >= 64) return loomy_fail(call, LOOMY_EINDEX, "more workers than places");
    for (i = call->begin; i < call->end; ++i) {
        int64_t inner = 0;
        int status;
        if (i == all->fails_at) return loomy_fail(call, LOOMY_EVALUE, "no %lld", (long long)i);
        status = loomy_parallel_for(call, 0, i % 10 + 1, 1, add_inner, &inner);
        if (status != LOOMY_OK) return status;
        all->parts[call->worker][0] += inner;
    }
    return LOOMY_OK;
}

/* nested_sum(n, fails_at=-1): the sum over i < n of the sum over j <= i % 10 of j. */
static PyObject* nested_sum(PyObject* self, PyObject* args) {
    long long n, fails_at = -1;
    struct sum all;
    int status;
    int64_t total = 0;
    size_t i;
    (void)self;
    if (!PyArg_ParseTuple(args, "L|L", &n, &fails_at)) return NULL;
    memset(&all, 0, sizeof all);
    all.fails_at = fails_at;
    status = host->parallel_for(NULL, 0, n, 0, add_up, &all);
    if (status != LOOMY_OK) return raise_status(status, "nested_sum");
    for (i = 0; i < 64; ++i) total += all.parts[i][0];
    return PyLong_FromLongLong(total);
}

/* The same from a section that has let go of the GIL. */
static PyObject* nested_sum_without_gil(PyObject* self, PyObject* args) {
    long long n;
    struct sum all;
    int status;
    int64_t total = 0;
    size_t i;
    (void)self;
    if (!PyArg_ParseTuple(args, "L", &n)) return NULL;
    memset(&all, 0, sizeof all);
    all.fails_at = -1;
    Py_BEGIN_ALLOW_THREADS
    status = host->parallel_for(NULL, 0, n, 0, add_up, &all);
    Py_END_ALLOW_THREADS
    if (status != LOOMY_OK) return raise_status(status, "nested_sum");
    for (i = 0; i < 64; ++i) total += all.parts[i][0];
    return PyLong_FromLongLong(total);
}

static int poll(const loomy_call* call, void* context) {
    (void)context;
    while (!loomy_should_stop(call)) {
    }
    return LOOMY_CANCELLED;
}

/* spin(): runs until it is interrupted. */
static PyObject* spin(PyObject* self, PyObject* nothing) {
    (void)self;
    (void)nothing;
    return raise_status(host->parallel_for(NULL, 0, 1000, 1, poll, NULL), "spin");
}

static int call_python(void* context) {
    PyObject* const made = PyObject_CallObject((PyObject*)context, NULL);
    if (made == NULL) return LOOMY_EPYTHON;
    Py_DECREF(made);
    return LOOMY_OK;
}

static int with_gil(const loomy_call* call, void* context) {
    return call->launch->api->with_gil(call, call_python, context);
}

/* call_in_kernel(function, n): function() from each chunk of a loop. */
static PyObject* call_in_kernel(PyObject* self, PyObject* args) {
    PyObject* function;
    long long n;
    int status;
    (void)self;
    if (!PyArg_ParseTuple(args, "OL", &function, &n)) return NULL;
    status = host->parallel_for(NULL, 0, n, 1, with_gil, function);
    if (status != LOOMY_OK) return raise_status(status, "call_in_kernel");
    Py_RETURN_NONE;
}

static PyObject* num_workers(PyObject* self, PyObject* nothing) {
    (void)self;
    (void)nothing;
    return PyLong_FromUnsignedLong(host->num_workers(NULL));
}

static PyMethodDef methods[] = {{"clip", clip, METH_VARARGS, NULL},
                                {"nested_sum", nested_sum, METH_VARARGS, NULL},
                                {"nested_sum_without_gil", nested_sum_without_gil, METH_VARARGS, NULL},
                                {"spin", spin, METH_NOARGS, NULL},
                                {"call_in_kernel", call_in_kernel, METH_VARARGS, NULL},
                                {"num_workers", num_workers, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};

static int add_kernel(PyObject* module, const char* name, const loomy_kernel* kernel) {
    PyObject* const capsule = PyCapsule_New((void*)kernel, LOOMY_KERNEL_CAPSULE, NULL);
    const int added = capsule != NULL ? PyModule_AddObjectRef(module, name, capsule) : -1;
    Py_XDECREF(capsule);
    return added;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "consumer", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_consumer(void) {
    PyObject* module;
    host = (const loomy_host*)PyCapsule_Import(LOOMY_HOST_CAPSULE, 0);
    if (host == NULL) return NULL;
    module = PyModule_Create(&definition);
    if (module == NULL) return NULL;
#ifdef Py_GIL_DISABLED /* without this the import would turn the GIL on */
    PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    if (add_kernel(module, "clip_kernel", loomy_kernel_clip()) < 0 ||
        add_kernel(module, "saxpy_kernel", loomy_kernel_saxpy()) < 0 ||
        add_kernel(module, "partial_sums_kernel", loomy_kernel_partial_sums()) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
