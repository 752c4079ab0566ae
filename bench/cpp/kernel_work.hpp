#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace bench {

// Two arrays and what is done with a range of them: the same compiled function, whoever distributes the
// ranges.
struct arrays {
    std::vector<float> x, y;
    float a = 0;
};
using range_function = void (*)(arrays&, std::int64_t begin, std::int64_t end);

[[gnu::noinline]] inline void do_nothing(arrays&, std::int64_t, std::int64_t) {
    asm volatile(""); // or the call would go
}

[[gnu::noinline]] inline void saxpy(arrays& on, std::int64_t begin, std::int64_t end) {
    const float a = on.a;
    const float* x = on.x.data();
    float* y = on.y.data();
    for (std::int64_t i = begin; i < end; ++i) y[i] = a * x[i] + y[i];
}

// Some tens of nanoseconds an item and next to no memory.
[[gnu::noinline]] inline void compute(arrays& on, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
        float value = on.x[static_cast<std::size_t>(i)];
        for (int step = 0; step < 12; ++step) value = value * 0.75f + 1.0f / (1.0f + value * value);
        on.y[static_cast<std::size_t>(i)] = value;
    }
}

} // namespace bench
