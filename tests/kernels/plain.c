/* Functions that know nothing of loomy: each shape a bare pointer may have. */
#include <math.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

struct fill {
    int64_t *out;
    int64_t add;
};

EXPORT int fill_range(intptr_t begin, intptr_t end, void *user) {
    const struct fill *what = user;
    for (intptr_t i = begin; i < end; ++i) what->out[i] = i + what->add;
    return 0;
}

EXPORT void fill_range_void(intptr_t begin, intptr_t end, void *user) { (void)fill_range(begin, end, user); }

/* x[i] = i, of one block of doubles. */
EXPORT int number_range(intptr_t begin, intptr_t end, void *user) {
    double *x = user;
    for (intptr_t i = begin; i < end; ++i) x[i] = (double)i;
    return 0;
}

/* Fails at the item that user points to. */
EXPORT int fail_range(intptr_t begin, intptr_t end, void *user) {
    const int64_t *bad = user;
    return *bad >= begin && *bad < end ? -2 : 0;
}

/* out = a * b, as NumPy's loops are. */
EXPORT void multiply_loop(char **args, intptr_t const *dims, intptr_t const *steps, void *data) {
    (void)data;
    for (intptr_t i = 0; i < dims[0]; ++i) {
        const double a = *(double *)(args[0] + i * steps[0]);
        const double b = *(double *)(args[1] + i * steps[1]);
        *(double *)(args[2] + i * steps[2]) = a * b;
    }
}

/* out = x, as NumPy's loops are. */
EXPORT void copy_loop(char **args, intptr_t const *dims, intptr_t const *steps, void *data) {
    (void)data;
    for (intptr_t i = 0; i < dims[0]; ++i) *(double *)(args[1] + i * steps[1]) = *(double *)(args[0] + i * steps[0]);
}

/* (n,k),(k)->(n): the loop of a generalised ufunc. */
EXPORT void row_dot_loop(char **args, intptr_t const *dims, intptr_t const *steps, void *data) {
    (void)data;
    for (intptr_t i = 0; i < dims[0]; ++i) {
        double sum = 0;
        for (intptr_t k = 0; k < dims[1]; ++k) {
            const double a = *(double *)(args[0] + i * steps[0] + k * steps[3]);
            const double b = *(double *)(args[1] + i * steps[1] + k * steps[4]);
            sum += a * b;
        }
        *(double *)(args[2] + i * steps[2]) = sum;
    }
}

/* (k)->(k): each row in reverse. */
EXPORT void reverse_loop(char **args, intptr_t const *dims, intptr_t const *steps, void *data) {
    (void)data;
    for (intptr_t i = 0; i < dims[0]; ++i) {
        const char *from = args[0] + i * steps[0];
        char *to = args[1] + i * steps[1];
        for (intptr_t k = 0; k < dims[1]; ++k)
            *(double *)(to + k * steps[3]) = *(const double *)(from + (dims[1] - 1 - k) * steps[2]);
    }
}

EXPORT double square(double x) { return x * x; }
EXPORT float square_float(float x) { return x * x; }
EXPORT float add_float(float x, float y) { return x + y; }
EXPORT double add(double x, double y) { return x + y; }
EXPORT double scaled(double x, void *user) { return x * *(double *)user; }
EXPORT double scaled_sum(double x, double y, void *user) { return (x + y) * *(double *)user; }
EXPORT float scaled_float(float x, void *user) { return x * (float)*(double *)user; }
EXPORT double sum_of(int n, double *x) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i];
    return sum;
}
EXPORT double scaled_sum_of(int n, double *x, void *user) { return sum_of(n, x) * *(double *)user; }
EXPORT int64_t odd_one_out(int64_t x, float y) { return x + (int64_t)y; }
