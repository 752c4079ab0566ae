#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bench {

// What one round of one contender yields. It crosses a pipe as it is, so it owns nothing.
struct sample {
    struct extra {
        char name[32];
        double value;
    };

    double ns = 0; // per operation
    double wall_seconds = 0;
    double cpu_seconds = 0; // of the whole process
    double p50 = -1;        // nanoseconds, over all rounds so far; negative: single operations are not timed
    double p99 = -1;
    std::array<extra, 4> extras{};
    std::size_t extra_count = 0;
    char wrong[160] = ""; // empty when the answers were right, else what was wrong with them

    void add(std::string_view name, double value) noexcept {
        if (extra_count == extras.size()) return;
        extra& next = extras[extra_count++];
        name.copy(next.name, sizeof next.name - 1);
        next.value = value;
    }
    void check(bool right, std::string_view otherwise) noexcept {
        if (!right && wrong[0] == 0) otherwise.copy(wrong, sizeof wrong - 1);
    }
};

// One system in one case. It lives in a process of its own, which makes it, warms it up and measures with it.
class contender {
  public:
    contender() = default;
    contender(const contender&) = delete;
    contender& operator=(const contender&) = delete;
    virtual ~contender() = default;

    // One round, some tens of milliseconds. The first is the warm-up and is not counted.
    virtual sample round() = 0;
};

} // namespace bench
