#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace loomy {

// Nanoseconds of the monotonic clock: the system's wall clock may jump, this one may not.
[[nodiscard]] inline std::int64_t now_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// A point on the monotonic clock, or never. Every wait in loomy takes one.
class deadline {
  public:
    constexpr deadline() noexcept = default; // never

    [[nodiscard]] static constexpr deadline never() noexcept { return deadline{}; }
    [[nodiscard]] static constexpr deadline at(std::int64_t ns) noexcept { return deadline{ns}; }
    // `ns` from now, saturating; zero or less has already passed.
    [[nodiscard]] static deadline after(std::int64_t ns) noexcept {
        const std::int64_t now = now_ns();
        if (ns >= never_ns - now) return never();
        return deadline{now + ns};
    }

    [[nodiscard]] constexpr bool is_never() const noexcept { return ns_ == never_ns; }
    [[nodiscard]] constexpr std::int64_t ns() const noexcept { return ns_; }
    [[nodiscard]] bool passed() const noexcept { return !is_never() && now_ns() >= ns_; }
    // Never negative; meaningless for never().
    [[nodiscard]] std::int64_t remaining_ns() const noexcept {
        if (is_never()) return never_ns;
        const std::int64_t left = ns_ - now_ns();
        return left > 0 ? left : 0;
    }
    [[nodiscard]] friend constexpr deadline earlier(deadline a, deadline b) noexcept {
        return a.ns_ < b.ns_ ? a : b;
    }
    friend constexpr bool operator==(deadline, deadline) noexcept = default;
    friend constexpr auto operator<=>(deadline, deadline) noexcept = default;

  private:
    static constexpr std::int64_t never_ns = std::numeric_limits<std::int64_t>::max();
    constexpr explicit deadline(std::int64_t ns) noexcept : ns_(ns) {}
    std::int64_t ns_ = never_ns;
};

} // namespace loomy
