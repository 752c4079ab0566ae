#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace loomy {

// Memory that one thread takes piece by piece and gives back all at once, the last first. Its blocks are kept
// for the next who asks. One thread at a time.
class scratch_arena {
  public:
    struct mark {
        std::size_t block, used;
    };

    scratch_arena() noexcept = default;
    ~scratch_arena();
    scratch_arena(const scratch_arena&) = delete;
    scratch_arena& operator=(const scratch_arena&) = delete;

    // Null: there is none, or `align` is not a power of two.
    [[nodiscard]] void* take(std::size_t bytes, std::size_t align) noexcept;

    [[nodiscard]] mark here() const noexcept { return {current_, used_}; }
    void release_to(mark earlier) noexcept {
        current_ = earlier.block;
        used_ = earlier.used;
    }
    // With nothing taken: gives back what is more than a thread should keep for later.
    void trim() noexcept;

    static constexpr std::size_t first_block = std::size_t{64} << 10;
    static constexpr std::size_t most_kept = std::size_t{4} << 20;

  private:
    struct block {
        std::byte* start;
        std::size_t size;
    };
    std::vector<block> blocks_;
    std::size_t current_ = 0; // index of the block that is being used
    std::size_t used_ = 0;    // bytes of it
};

} // namespace loomy
