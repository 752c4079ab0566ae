#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "loomy/base/clock.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy::py {

// Which items of a batch have an outcome, for one reader that takes them in order while others still run.
class batch_stream {
  public:
    enum class outcome : std::uint8_t { none, result, failure };

    explicit batch_stream(std::uint64_t size) : outcomes_(new std::atomic<outcome>[size]()) {}

    // (1) The outcome has been stored. Wakes the reader if it waits for this one.
    void mark(std::uint64_t index, outcome what) noexcept {
        outcomes_[index].store(what, std::memory_order_seq_cst);
        if (awaited_.load(std::memory_order_seq_cst) == index) announce();
    }
    // The reader is to look again.
    void announce() noexcept {
        turn_.fetch_add(1, std::memory_order_seq_cst);
        wake_all_at_address(&turn_);
    }

    [[nodiscard]] outcome of(std::uint64_t index) const noexcept {
        return outcomes_[index].load(std::memory_order_seq_cst); // pairs with (1)
    }

    // Waits until the item has an outcome, or `over()`, which whoever makes it true announces. Blocking.
    template <class Over>
    [[nodiscard]] wait_status wait(std::uint64_t index, deadline until, Over&& over) noexcept {
        // Sequentially consistent with (1): the marker stores, then looks who waits; here it is the other
        // way round.
        awaited_.store(index, std::memory_order_seq_cst);
        wait_status status = wait_status::woken;
        while (status == wait_status::woken) {
            const std::uint32_t turn = turn_.load(std::memory_order_seq_cst);
            if (of(index) != outcome::none || over()) break;
            status = wait_on_address(turn_, turn, until);
        }
        awaited_.store(nobody, std::memory_order_relaxed);
        return status;
    }

  private:
    static constexpr std::uint64_t nobody = ~std::uint64_t{0};

    const std::unique_ptr<std::atomic<outcome>[]> outcomes_;
    std::atomic<std::uint64_t> awaited_{nobody};
    std::atomic<std::uint32_t> turn_{0};
};

} // namespace loomy::py
