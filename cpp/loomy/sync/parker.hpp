#pragma once

#include <atomic>
#include <cstdint>

#include "loomy/sync/address_wait.hpp"

namespace loomy {

// One thread parks, any thread unparks. At most one token is kept: an unpark before the park makes the park
// return at once. The waker touches only the address after the exchange, so the parker may be gone by then.
class parker {
  public:
    // `woken` means the token was taken. Owner thread only. Blocking.
    [[nodiscard]] wait_status park(deadline until = deadline::never()) noexcept {
        std::uint32_t seen = empty;
        // (1) acquire: pairs with the exchange in unpark (2), whose caller's writes become visible here.
        if (!word_.compare_exchange_strong(seen, parked, std::memory_order_acquire)) return take_token();
        for (;;) {
            const wait_status status = wait_on_address(word_, parked, until);
            if (word_.load(std::memory_order_relaxed) == token) return take_token();
            if (status == wait_status::woken) continue; // spurious
            // Withdraw, unless a token came in the meantime.
            seen = parked;
            if (word_.compare_exchange_strong(seen, empty, std::memory_order_acquire)) return status;
            return take_token();
        }
    }

    // Any thread. Wait-free. True when it cost a system call.
    bool unpark() noexcept {
        // (2) release: pairs with (1) and with take_token.
        if (word_.exchange(token, std::memory_order_acq_rel) != parked) return false;
        wake_one_at_address(&word_);
        return true;
    }

    // Takes a token without waiting. Owner thread only.
    [[nodiscard]] bool try_take() noexcept {
        if (word_.load(std::memory_order_relaxed) != token) return false;
        return take_token() == wait_status::woken;
    }

  private:
    static constexpr std::uint32_t empty = 0;
    static constexpr std::uint32_t token = 1;
    static constexpr std::uint32_t parked = 2;

    wait_status take_token() noexcept {
        word_.exchange(empty, std::memory_order_acquire); // pairs with (2)
        return wait_status::woken;
    }

    std::atomic<std::uint32_t> word_{empty};
};

} // namespace loomy
