/* loomy/kernel.h: the stable C ABI of native kernels. C99, C11, C++11; no Python.h.
 *
 * A kernel is a function that loomy's workers run over an iteration range, in chunks, without the GIL. This
 * header is all that a library of kernels needs; it links against nothing. Structs that begin with their size
 * only grow at their end, so old kernels run in new hosts and the other way round: look with LOOMY_HAS before
 * you use a member that is newer than 1.0. loomy_dtype and loomy_buffer, of which there are arrays, never
 * change. */
#ifndef LOOMY_KERNEL_H
#define LOOMY_KERNEL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOOMY_ABI_MAJOR 1u /* part of the names of the capsules: another one is another ABI */
#define LOOMY_ABI_MINOR 0u /* grows with what is appended */
#define LOOMY_ABI ((LOOMY_ABI_MAJOR << 16) | LOOMY_ABI_MINOR)

/* A capsule of this name holds a `const loomy_kernel *`; its context, if not null, replaces user_data. */
#define LOOMY_KERNEL_CAPSULE "loomy.kernel.v1"
/* loomy.load_kernels() finds kernels by this prefix: `const loomy_kernel *loomy_kernel_NAME(void)`. */
#define LOOMY_KERNEL_PREFIX "loomy_kernel_"

#if defined(_WIN32)
#define LOOMY_EXPORT __declspec(dllexport)
#else
#define LOOMY_EXPORT __attribute__((visibility("default")))
#endif

/* What a kernel's functions return. Any other value is an error as well and counts as LOOMY_ERROR. */
typedef enum loomy_status {
    LOOMY_OK = 0,
    LOOMY_CANCELLED = 1,      /* stopped because of loomy_should_stop() */
    LOOMY_ERROR = -1,         /* RuntimeError */
    LOOMY_EVALUE = -2,        /* ValueError */
    LOOMY_ETYPE = -3,         /* TypeError */
    LOOMY_EMEMORY = -4,       /* MemoryError */
    LOOMY_EINDEX = -5,        /* IndexError */
    LOOMY_EOVERFLOW = -6,     /* OverflowError */
    LOOMY_EZERODIV = -7,      /* ZeroDivisionError */
    LOOMY_EOS = -8,           /* OSError */
    LOOMY_ENOTIMPL = -9,      /* NotImplementedError */
    LOOMY_EPYTHON = -10,      /* the Python error that is set on this thread (LOOMY_K_USES_PYTHON) */
    LOOMY_EPANIC = -11,       /* WorkerPanic: a C++ exception left the kernel; set by the host */
    LOOMY_EUNAVAILABLE = -12, /* the host is closed or its interpreter is going away */
    LOOMY_STATUS_IS_AN_INT = 0x7fffffff
} loomy_status;

/* Bit for bit DLDataType of DLPack: code 0 int, 1 uint, 2 float, 4 bfloat, 5 complex, 6 bool. */
typedef struct loomy_dtype {
    uint8_t code, bits;
    uint16_t lanes;
} loomy_dtype;

enum { LOOMY_INT = 0, LOOMY_UINT = 1, LOOMY_FLOAT = 2, LOOMY_BFLOAT = 4, LOOMY_COMPLEX = 5, LOOMY_BOOL = 6 };

enum {
    LOOMY_BUF_READONLY = 1u,
    LOOMY_BUF_C_CONTIG = 2u, /* C order without gaps */
    LOOMY_BUF_ALIGNED = 4u   /* each element at an address its type wants */
};

/* One argument. A scalar has ndim 0 and its value at `data`. */
typedef struct loomy_buffer {
    void* data;             /* element [0, 0, ...] */
    const int64_t* shape;   /* ndim of them */
    const int64_t* strides; /* ndim of them, in BYTES as in Py_buffer and NumPy; may be negative or 0 */
    int32_t ndim;
    loomy_dtype dtype;
    int64_t itemsize;
    uint32_t flags, reserved;
} loomy_buffer;

typedef struct loomy_call loomy_call;
typedef struct loomy_api loomy_api;

/* One launch: the same for all its chunks, and read-only for kernels. */
typedef struct loomy_launch {
    uint32_t struct_size, abi; /* abi of the host */
    const loomy_api* api;
    const volatile uint32_t* stop; /* not 0: return LOOMY_CANCELLED soon; read it with loomy_should_stop() */
    int64_t total;                 /* the iteration space is [0, total) */
    int64_t n_chunks;              /* of a fixed partition, never more than total; 0: the host sizes chunks as
                                      it goes */
    uint32_t num_workers, nargs;
    const loomy_buffer* args;
    void* user_data; /* of the kernel, or the context of its capsule */
    void* state;     /* from prepare() */
    void* host;      /* the host's own; a copy of the struct has it too */
} loomy_launch;

/* One chunk of a launch: do the items begin ... end - 1. Valid until the function returns, on its thread.
 *
 * A kernel that calls another one may hand it a copy, with other items, and with a copy of the launch that
 * has other args, user_data or state. The host takes a copy for the chunk that it was copied from: stop,
 * errors, scratch memory and loops are that one's, and parts of a loop see what the copy has. */
struct loomy_call {
    uint32_t struct_size;
    uint32_t worker; /* below launch->num_workers; no two chunks of it that run at the same time have the
                        same. Parts of a nested loop are numbered anew for each loop */
    int64_t begin, end;
    int64_t chunk; /* of a fixed partition: 0 ... n_chunks - 1, each once; otherwise -1 */
    const loomy_launch* launch;
    void* host; /* the host's own; a copy of the struct has it too */
};

typedef int (*loomy_run_fn)(const loomy_call* call);
/* On the launching thread, before any chunk; what it leaves in *state is launch->state. Where it fails
 * nothing runs, and finish is not called. Once for each attempt to launch: one that finds the pool full is
 * followed by its finish and, when there may be a place, by prepare again. */
typedef int (*loomy_prepare_fn)(const loomy_launch* launch, void** state);
/* Once for each prepare that succeeded, or for each attempt if there is none: after the last chunk, or where
 * nothing could be started after all, with LOOMY_CANCELLED. `status` is what the chunks came to. Returns what
 * the launch is to come to; an error of the chunks stays, and what it says of an attempt that found the pool
 * full is forgotten. */
typedef int (*loomy_finish_fn)(const loomy_launch* launch, void* state, int status);
/* A part of a nested loop. The call is its own: begin and end, a worker below call->launch->num_workers, its
 * own errors and scratch memory; args, user_data and state are those of the chunk it is nested in. */
typedef int (*loomy_range_fn)(const loomy_call* call, void* context);

/* Python errors. What runs on a thread that Python knows may set one, and may return with it: run, a part of
 * a nested loop, prepare or finish, whether it returned LOOMY_EPYTHON, LOOMY_OK or LOOMY_CANCELLED. The host
 * looks after each, takes the error off the thread and makes it the launch's. With another error status, that
 * is what the launch fails with, and the Python error is dropped. Do not call parallel_for with an error set:
 * it may run Python jobs on this thread. */

/* What the host does for a chunk, on the chunk's own thread. None of it needs the GIL. */
struct loomy_api {
    uint32_t struct_size, abi;
    /* Copies the message; the first error of a launch is the one that is kept, and stops the other chunks.
     * Returns `code`. */
    int (*set_error)(const loomy_call* call, int code, const char* message, size_t length);
    int (*should_stop)(const loomy_call* call);
    /* Runs fn over [begin, end) on the workers that are free, this thread first of all, and returns when all
     * of it has ended: LOOMY_OK, LOOMY_CANCELLED or the first error. Never waits idly while there is
     * something to run. `grain`: fewest items at a time; 0: the host decides. More than 2^61 items are
     * LOOMY_EVALUE. */
    int (*parallel_for)(const loomy_call* call, int64_t begin, int64_t end, int64_t grain, loomy_range_fn fn,
                        void* context);
    /* Uninitialised memory for this chunk, used again for the next one. `align` is a power of two, 0 means
     * that of malloc. Null when there is none. */
    void* (*scratch)(const loomy_call* call, size_t bytes, size_t align);
    /* Calls fn(context) with the GIL held and returns what it returns. LOOMY_EUNAVAILABLE: not called, the
     * interpreter is going away, or there is none. */
    int (*with_gil)(const loomy_call* call, int (*fn)(void* context), void* context);
    /* set_error for prepare and finish, which have no call. */
    int (*set_launch_error)(const loomy_launch* launch, int code, const char* message, size_t length);
};

/* All other bits are reserved for later versions: a host refuses a kernel with one that it does not know. */
enum {
    LOOMY_K_USES_PYTHON = 1u, /* may call PyGILState_Ensure, or leave a Python error on its thread */
    LOOMY_K_SERIAL = 2u,      /* never run two chunks of one launch at the same time */
    LOOMY_K_NOEXCEPT = 4u,    /* promises that no C++ exception leaves it */
    LOOMY_K_FIXED = 8u /* wants a fixed partition, whoever launches it: n_chunks depends on total and grain
                          alone, unless the caller says how many, and is 0 only if total is */
};

/* A kernel. Lives as long as the library that has it.
 *
 * The signature says what it takes, for checking before each launch; null: nothing is checked. Arguments are
 * separated by blanks, each is
 *
 *     [name:]dtype[\[dimension,...\]][c][!]
 *
 * dtype: b1 (bool), i1 i2 i4 i8, u1 u2 u4 u8, f2 f4 f8, c8 c16 (complex), each with its size in bytes. A
 * dimension is a number, a name (equal names must be equal lengths), or `:` for any; without brackets the
 * argument is a scalar. The first dimension called n is the iteration space if the caller gives no other.
 * c: must be C-contiguous. !: is written to. Example: "x:f8[n] y:f8[n]! a:f8". */
typedef struct loomy_kernel {
    uint32_t struct_size, abi; /* LOOMY_KERNEL_HEADER */
    const char *name, *signature, *doc;
    loomy_run_fn run;
    loomy_prepare_fn prepare; /* or null */
    loomy_finish_fn finish;   /* or null */
    void* user_data;
    /* Fewest items in a chunk; 0: the host decides. The last chunk may have fewer, but not one of
     * LOOMY_K_FIXED unless there are not so many items. A caller who says how many chunks says how large they
     * are. */
    int64_t grain;
    uint64_t flags;
} loomy_kernel;

#define LOOMY_KERNEL_HEADER (uint32_t)sizeof(loomy_kernel), LOOMY_ABI

/* Whether the struct that p points to, made by somebody else, is new enough to have the member. */
#define LOOMY_HAS(type, p, member) ((p)->struct_size >= offsetof(type, member) + sizeof((p)->member))

/* One relaxed load: cheap enough for every few hundred items. */
static inline int loomy_should_stop(const loomy_call* call) {
#if defined(__GNUC__) || defined(__clang__)
    return __atomic_load_n(call->launch->stop, __ATOMIC_RELAXED) != 0;
#else
    return *call->launch->stop != 0; /* MSVC reads a volatile once */
#endif
}

/* `return loomy_fail(call, LOOMY_EVALUE, "row %d is empty", row);` Messages are cut at 511 bytes. */
#if defined(__GNUC__) || defined(__clang__)
__attribute__((format(printf, 3, 4)))
#endif
static inline int
loomy_fail(const loomy_call* call, int code, const char* format, ...) {
    char text[512];
    int length;
    va_list values;
    va_start(values, format);
    length = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (length < 0) length = 0;
    if (length >= (int)sizeof text) length = (int)sizeof text - 1;
    return call->launch->api->set_error(call, code, text, (size_t)length);
}

/* The address of element i of an argument along its first dimension; of a scalar, its value. */
static inline void* loomy_at(const loomy_call* call, uint32_t argument, int64_t i) {
    const loomy_buffer* b = &call->launch->args[argument];
    return (char*)b->data + (b->ndim != 0 ? i * b->strides[0] : 0);
}

static inline void* loomy_scratch(const loomy_call* call, size_t bytes, size_t align) {
    return call->launch->api->scratch(call, bytes, align);
}

static inline int loomy_parallel_for(const loomy_call* call, int64_t begin, int64_t end, int64_t grain,
                                     loomy_range_fn fn, void* context) {
    return call->launch->api->parallel_for(call, begin, end, grain, fn, context);
}

#ifdef __cplusplus
}
#endif

#endif
