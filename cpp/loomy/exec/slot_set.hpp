#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>

#include "loomy/base/cacheline.hpp"
#include "loomy/exec/wake_step.hpp"

namespace loomy {

// The free slots of a pool, one bit each. Taking a bit is what gives the right to run jobs on that slot, to
// its own thread and to a caller that helps alike, so at most `size` jobs run at once whoever runs them.
// Takes the lowest free one: a few slots stay warm and the others asleep, however many there are.
class slot_set {
  public:
    static constexpr std::uint32_t capacity = 65'536;

    // Wait-free. Sequentially consistent: half of the sleep/wake protocol (see cpp/README.md).
    void release(std::uint32_t id) noexcept {
        wake_hook::at(wake_step::gives_slot_back);
        words_[id / 64].fetch_or(bit(id), std::memory_order_seq_cst); // (1)
    }

    // Lock-free. Pairs with (1): whoever takes a slot sees what its last user did.
    [[nodiscard]] bool try_take(std::uint32_t id) noexcept {
        return (words_[id / 64].fetch_and(~bit(id), std::memory_order_seq_cst) & bit(id)) != 0;
    }

    // Lock-free: fails only when there was a moment at which each word was seen empty.
    [[nodiscard]] std::optional<std::uint32_t> take_lowest() noexcept {
        const std::uint32_t used = used_words_.load(std::memory_order_seq_cst);
        for (std::uint32_t w = 0; w < used; ++w) {
            wake_hook::at(wake_step::reads_free);
            std::uint64_t free = words_[w].load(std::memory_order_seq_cst);
            while (free != 0) {
                const std::uint64_t lowest = free & (~free + 1);
                wake_hook::at(wake_step::takes_free);
                if (words_[w].compare_exchange_weak(free, free & ~lowest, std::memory_order_seq_cst)) {
                    return w * 64 + static_cast<std::uint32_t>(std::countr_zero(lowest));
                }
            }
        }
        return std::nullopt;
    }

    // For shrinking: the coldest goes first. Lock-free.
    [[nodiscard]] std::optional<std::uint32_t> take_highest() noexcept {
        for (std::uint32_t w = used_words_.load(std::memory_order_seq_cst); w-- > 0;) {
            std::uint64_t free = words_[w].load(std::memory_order_seq_cst);
            while (free != 0) {
                const std::uint32_t high = 63 - static_cast<std::uint32_t>(std::countl_zero(free));
                if (words_[w].compare_exchange_weak(free, free & ~(std::uint64_t{1} << high),
                                                    std::memory_order_seq_cst)) {
                    return w * 64 + high;
                }
            }
        }
        return std::nullopt;
    }

    // Wait-free; the answer may be old, as that of any().
    [[nodiscard]] bool contains(std::uint32_t id) const noexcept {
        return (words_[id / 64].load(std::memory_order_seq_cst) & bit(id)) != 0;
    }

    [[nodiscard]] bool any() const noexcept {
        const std::uint32_t used = used_words_.load(std::memory_order_seq_cst);
        for (std::uint32_t w = 0; w < used; ++w) {
            wake_hook::at(wake_step::looks_for_free);
            if (words_[w].load(std::memory_order_seq_cst) != 0) return true;
        }
        return false;
    }

    [[nodiscard]] std::uint32_t count() const noexcept {
        std::uint32_t total = 0;
        const std::uint32_t used = used_words_.load(std::memory_order_seq_cst);
        for (std::uint32_t w = 0; w < used; ++w) {
            total += static_cast<std::uint32_t>(std::popcount(words_[w].load(std::memory_order_relaxed)));
        }
        return total;
    }

    // Under the pool's lifecycle lock, before the first release of a slot with this id. Sequentially
    // consistent as the bits are: who looks for free slots after a push must not overlook a word.
    void make_room_for(std::uint32_t id) noexcept {
        const std::uint32_t needed = id / 64 + 1;
        if (used_words_.load(std::memory_order_relaxed) < needed)
            used_words_.store(needed, std::memory_order_seq_cst);
    }

  private:
    static constexpr std::uint64_t bit(std::uint32_t id) noexcept { return std::uint64_t{1} << (id % 64); }

    alignas(cache_line) std::atomic<std::uint32_t> used_words_{1};
    std::array<std::atomic<std::uint64_t>, capacity / 64> words_{};
};

} // namespace loomy
