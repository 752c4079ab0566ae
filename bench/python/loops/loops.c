/* The loops of the kernel benchmarks, three times each: called for a range by one thread, as a kernel of
 * loomy, and with OpenMP. One file and one set of flags, so all three are the same machine code inside. */
#include <loomy/kernel.h>
#include <math.h>

/* A polynomial by Horner's rule: arithmetic in registers, one load and one store an element. */
static inline void horner(int64_t begin, int64_t end, const double* restrict x, double* restrict out) {
    for (int64_t i = begin; i < end; ++i) {
        double sum = 1.0;
        for (int term = 0; term < 32; ++term) sum = sum * x[i] + 0.5;
        out[i] = sum;
    }
}

/* Memory and next to nothing else. */
static inline void saxpy(int64_t begin, int64_t end, const double* restrict x, const double* restrict y,
                         double* restrict out) {
    for (int64_t i = begin; i < end; ++i) out[i] = 2.5 * x[i] + y[i];
}

/* Rows of a square picture of the Mandelbrot set: some take a hundred times as long as others. */
static inline void mandelbrot(int64_t begin, int64_t end, int64_t side, int32_t* restrict out) {
    for (int64_t row = begin; row < end; ++row) {
        const double ci = -1.25 + 2.5 * (double)row / (double)side;
        for (int64_t column = 0; column < side; ++column) {
            const double cr = -2.0 + 2.5 * (double)column / (double)side;
            double zr = 0, zi = 0;
            int32_t steps = 0;
            while (steps < 200 && zr * zr + zi * zi < 4.0) {
                const double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
                ++steps;
            }
            out[row * side + column] = steps;
        }
    }
}

LOOMY_EXPORT void one_horner(int64_t n, const double* x, double* out);
LOOMY_EXPORT void one_saxpy(int64_t n, const double* x, const double* y, double* out);
LOOMY_EXPORT void one_mandelbrot(int64_t n, int32_t* out);
void one_horner(int64_t n, const double* x, double* out) {
    horner(0, n, x, out);
}
void one_saxpy(int64_t n, const double* x, const double* y, double* out) {
    saxpy(0, n, x, y, out);
}
void one_mandelbrot(int64_t n, int32_t* out) {
    mandelbrot(0, n, n, out);
}

static const double* doubles(const loomy_call* call, uint32_t arg) {
    return (const double*)call->launch->args[arg].data;
}

static int run_horner(const loomy_call* call) {
    horner(call->begin, call->end, doubles(call, 0), (double*)call->launch->args[1].data);
    return LOOMY_OK;
}
static int run_saxpy(const loomy_call* call) {
    saxpy(call->begin, call->end, doubles(call, 0), doubles(call, 1), (double*)call->launch->args[2].data);
    return LOOMY_OK;
}
static int run_mandelbrot(const loomy_call* call) {
    mandelbrot(call->begin, call->end, call->launch->total, (int32_t*)call->launch->args[0].data);
    return LOOMY_OK;
}

/* Rows of one kernel that are loops of another: saxpy over the rows of a matrix, each row shared out again.
 */
static int inner_saxpy(const loomy_call* call, void* context) {
    double* const* const arrays = (double* const*)context;
    saxpy(call->begin, call->end, arrays[0], arrays[1], arrays[2]);
    return LOOMY_OK;
}
static int run_nested(const loomy_call* call) {
    const int64_t width = call->launch->args[0].shape[1];
    for (int64_t row = call->begin; row < call->end; ++row) {
        double* arrays[3];
        for (int arg = 0; arg < 3; ++arg) arrays[arg] = (double*)call->launch->args[arg].data + row * width;
        const int status = loomy_parallel_for(call, 0, width, 1, inner_saxpy, arrays);
        if (status != LOOMY_OK) return status;
    }
    return LOOMY_OK;
}

#define KERNEL(function, signature)                                                           \
    static const loomy_kernel kernel_##function = {                                           \
        LOOMY_KERNEL_HEADER, #function, signature, NULL, run_##function, NULL, NULL, NULL, 0, \
        LOOMY_K_NOEXCEPT};                                                                    \
    LOOMY_EXPORT const loomy_kernel* loomy_kernel_##function(void);                           \
    const loomy_kernel* loomy_kernel_##function(void) {                                       \
        return &kernel_##function;                                                            \
    }

KERNEL(horner, "x:f8[n] out:f8[n]!")
KERNEL(saxpy, "x:f8[n] y:f8[n] out:f8[n]!")
KERNEL(mandelbrot, "out:i4[n,n]!")
KERNEL(nested, "x:f8[n,m] y:f8[n,m] out:f8[n,m]!")

#ifdef _OPENMP
LOOMY_EXPORT void omp_horner(int64_t n, const double* x, double* out);
LOOMY_EXPORT void omp_saxpy(int64_t n, const double* x, const double* y, double* out);
LOOMY_EXPORT void omp_mandelbrot(int64_t n, int32_t* out);

/* One block a thread, which is what schedule(static) makes of a loop, so that the block is vectorised like
 * the others'. */
#define BLOCKS 64
void omp_horner(int64_t n, const double* x, double* out) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < BLOCKS; ++block)
        horner(n * block / BLOCKS, n * (block + 1) / BLOCKS, x, out);
}
void omp_saxpy(int64_t n, const double* x, const double* y, double* out) {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < BLOCKS; ++block)
        saxpy(n * block / BLOCKS, n * (block + 1) / BLOCKS, x, y, out);
}
void omp_mandelbrot(int64_t n, int32_t* out) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t row = 0; row < n; ++row) mandelbrot(row, row + 1, n, out);
}

/* Rows of 512. */
LOOMY_EXPORT void omp_nested(int64_t rows, const double* x, const double* y, double* out);
void omp_nested(int64_t rows, const double* x, const double* y, double* out) {
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; ++row) omp_saxpy(512, x + row * 512, y + row * 512, out + row * 512);
}
#endif
