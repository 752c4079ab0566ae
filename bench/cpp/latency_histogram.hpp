#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

// Counts durations in buckets whose width grows with what they hold: each power of two is cut into 32 equal
// parts, so a percentile is off by at most 1/64 of itself, from one nanosecond to centuries. Adding is a
// shift and an increment: cheap enough to take every sample, and a tail is made of the samples one did not
// expect.
class latency_histogram {
  public:
    void add(std::int64_t ns) noexcept {
        ++counts_[bucket_of(ns > 0 ? static_cast<std::uint64_t>(ns) : 0)];
        ++total_;
    }

    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

    // The smallest duration that at least `share` of the samples do not exceed, as the middle of its bucket;
    // 0 without samples. 0 <= share <= 1.
    [[nodiscard]] double quantile(double share) const noexcept {
        if (total_ == 0) return 0;
        const double wanted = share * static_cast<double>(total_);
        std::uint64_t seen = 0;
        std::size_t bucket = 0;
        for (; bucket < bucket_count; ++bucket) {
            seen += counts_[bucket];
            if (seen != 0 && static_cast<double>(seen) >= wanted) break;
        }
        return middle_of(bucket < bucket_count ? bucket : bucket_count - 1);
    }

    static constexpr std::size_t part_bits = 5;
    static constexpr std::size_t parts = std::size_t{1} << part_bits;
    // One for each value below 2 * parts, then `parts` for each further power of two.
    static constexpr std::size_t bucket_count = (64 - part_bits) * parts + parts;

    [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
        if (ns < parts) return static_cast<std::size_t>(ns);
        const auto shift = static_cast<std::size_t>(std::bit_width(ns)) - 1 - part_bits;
        return shift * parts + static_cast<std::size_t>(ns >> shift);
    }
    [[nodiscard]] static constexpr double middle_of(std::size_t bucket) noexcept {
        if (bucket < 2 * parts) return static_cast<double>(bucket);
        const std::size_t shift = bucket / parts - 1;
        const double low = static_cast<double>(static_cast<std::uint64_t>(bucket - shift * parts) << shift);
        return low + static_cast<double>((std::uint64_t{1} << shift) - 1) / 2;
    }

  private:
    std::array<std::uint64_t, bucket_count> counts_{};
    std::uint64_t total_ = 0;
};

} // namespace bench
