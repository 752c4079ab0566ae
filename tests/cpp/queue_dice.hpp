#pragma once

#include <cstddef>
#include <cstdint>

namespace queue_test {

// Small, quick, and the same on every platform.
class dice {
  public:
    explicit dice(std::size_t seed = 0) : state_(static_cast<std::uint32_t>(seed) * 2654435761u | 1u) {
        for (int i = 0; i < 8; ++i) below(2);
    }
    std::uint32_t below(std::uint32_t limit) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return state_ % limit;
    }

  private:
    std::uint32_t state_;
};

} // namespace queue_test
