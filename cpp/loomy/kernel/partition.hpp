#pragma once

#include <algorithm>
#include <cstdint>

namespace loomy {

struct index_range {
    std::int64_t begin, end;
};

// How an iteration space becomes chunks. Fixed: a given number of chunks, the same whoever runs them, so that
// what is computed for each and put together in order has the same bits each time. Otherwise chunks are sized
// as they are claimed, and `units` of claiming are items.
class partition {
  public:
    // What no launch may exceed: sums of a few of these do not overflow.
    static constexpr std::int64_t most_items = std::int64_t{1} << 61;
    // Whether [begin, end) does. `end` is not below `begin`, but their difference may be more than fits.
    [[nodiscard]] static constexpr bool exceeds_most(std::int64_t begin, std::int64_t end) noexcept {
        return static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin) >
               static_cast<std::uint64_t>(most_items);
    }
    // Of a kernel that wants a fixed partition, if its caller does not care. Enough to keep many workers busy
    // to the end, few enough that what is kept for each is little.
    static constexpr std::int64_t usual_chunks = 64;

    // chunks 0: dynamic. There are never more chunks than items.
    constexpr partition(std::int64_t total, std::int64_t chunks, std::int64_t grain) noexcept
        : total_(total),
          chunks_(std::min(chunks, total)),
          grain_(std::max<std::int64_t>(grain, 1)),
          least_(chunks_ > 0 ? total / chunks_ : 0),
          longer_(chunks_ > 0 ? total % chunks_ : 0) {}

    // Depends on total and grain alone. No chunk is shorter than the grain, unless all of it is.
    [[nodiscard]] static constexpr partition fixed(std::int64_t total, std::int64_t grain) noexcept {
        const std::int64_t least = std::max<std::int64_t>(grain, 1);
        return {total, std::clamp<std::int64_t>(total / least, 1, usual_chunks), grain};
    }

    [[nodiscard]] constexpr std::int64_t total() const noexcept { return total_; }
    [[nodiscard]] constexpr std::int64_t chunks() const noexcept { return chunks_; }
    [[nodiscard]] constexpr bool is_fixed() const noexcept { return chunks_ > 0; }

    [[nodiscard]] constexpr std::uint64_t units() const noexcept {
        return static_cast<std::uint64_t>(is_fixed() ? chunks_ : total_);
    }
    [[nodiscard]] constexpr std::uint64_t least_claim() const noexcept {
        return static_cast<std::uint64_t>(is_fixed() ? 1 : grain_);
    }
    // Of a fixed partition: chunks differ by one item at most.
    [[nodiscard]] constexpr index_range chunk(std::int64_t index) const noexcept {
        const std::int64_t begin = index * least_ + std::min(index, longer_);
        return {begin, begin + least_ + (index < longer_ ? 1 : 0)};
    }

  private:
    std::int64_t total_, chunks_, grain_;
    std::int64_t least_, longer_; // items of a fixed chunk, and how many chunks have one item more
};

} // namespace loomy
