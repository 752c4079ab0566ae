#pragma once

#include <atomic>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy {

// Whether a pool takes jobs, and how many it holds that have not started. Both in one word, so that closing
// and counting cannot miss each other: a submitter counts itself in with the same instruction that tells it
// whether the pool is open, and one that comes after the close backs out.
class admission {
  public:
    // Counts one job in; false (and not counted) when closed. Wait-free.
    [[nodiscard]] bool enter(std::uint64_t& depth) noexcept {
        const std::uint64_t before = word_.fetch_add(1, std::memory_order_seq_cst);
        depth = (before & count_mask) + 1;
        return (before & closed) == 0;
    }

    // Counts in what had been let in before (a batch goes back into the queue for the next worker).
    // Wait-free.
    void reenter() noexcept { word_.fetch_add(1, std::memory_order_seq_cst); }

    enum class left { open, closed, closed_and_empty };
    // Counts jobs out that started, were abandoned, or backed out. Wait-free.
    left leave(std::uint64_t jobs = 1) noexcept {
        const std::uint64_t after = word_.fetch_sub(jobs, std::memory_order_seq_cst) - jobs;
        if ((after & closed) == 0) return left::open;
        return (after & count_mask) == 0 ? left::closed_and_empty : left::closed;
    }

    // True for the one call that closed it. Wait-free.
    bool close() noexcept { return (word_.fetch_or(closed, std::memory_order_seq_cst) & closed) == 0; }

    [[nodiscard]] bool is_closed() const noexcept {
        return (word_.load(std::memory_order_seq_cst) & closed) != 0;
    }
    [[nodiscard]] std::uint64_t count() const noexcept {
        return word_.load(std::memory_order_seq_cst) & count_mask;
    }
    // Open, and nothing is queued.
    [[nodiscard]] bool is_open_and_empty() const noexcept {
        return word_.load(std::memory_order_seq_cst) == 0;
    }

  private:
    static constexpr std::uint64_t closed = std::uint64_t{1} << 63;
    static constexpr std::uint64_t count_mask = closed - 1;

    alignas(cache_line) std::atomic<std::uint64_t> word_{0};
};

// The exact bound on queued jobs. The balance is queued jobs minus idle slots: a job that an idle worker is
// about to pick up takes no place, so a pool with four idle workers takes four jobs at once whatever the
// bound, and a bound of 0 is hand-off only. Starting a queued job takes one from both and leaves the balance
// as it is.
class places {
  public:
    explicit places(std::int64_t limit) noexcept : limit_(limit) {}

    // Lock-free.
    [[nodiscard]] bool try_take() noexcept {
        std::int64_t seen = balance_.load(std::memory_order_relaxed);
        do {
            if (seen >= limit_) return false;
        } while (!balance_.compare_exchange_weak(seen, seen + 1, std::memory_order_seq_cst));
        return true;
    }

    // Regardless of the limit: a slot was taken or went away, or a job runs that was let in another way.
    void take() noexcept { balance_.fetch_add(1, std::memory_order_seq_cst); }

    // A slot became idle, or a job left the queue without a slot: somebody who is blocked may go on.
    void give() noexcept {
        balance_.fetch_sub(1, std::memory_order_seq_cst); // (1)
        if (blocked_.load(std::memory_order_seq_cst) != 0) announce();
    }

    // Everybody who is blocked looks again (the pool closed).
    void announce() noexcept {
        turn_.fetch_add(1, std::memory_order_seq_cst);
        wake_all_at_address(&turn_);
    }

    // Waits for a place to become free; the caller tries again on `woken`. Blocking.
    template <class Recheck>
    [[nodiscard]] wait_status wait(deadline until, Recheck&& may_go_on) noexcept {
        blocked_.fetch_add(1, std::memory_order_seq_cst); // before the look at the balance: pairs with (1)
        const std::uint32_t turn = turn_.load(std::memory_order_seq_cst);
        wait_status status = wait_status::woken;
        if (balance_.load(std::memory_order_seq_cst) >= limit_ && !may_go_on()) {
            status = wait_on_address(turn_, turn, until);
        }
        blocked_.fetch_sub(1, std::memory_order_seq_cst);
        return status;
    }

    // Jobs beyond those that idle workers are about to take; never more than the limit.
    [[nodiscard]] std::uint64_t taken() const noexcept {
        const std::int64_t now = balance_.load(std::memory_order_seq_cst);
        return now > 0 ? static_cast<std::uint64_t>(now) : 0;
    }

  private:
    const std::int64_t limit_;
    alignas(cache_line) std::atomic<std::int64_t> balance_{0};
    std::atomic<std::uint32_t> blocked_{0};
    std::atomic<std::uint32_t> turn_{0};
};

} // namespace loomy
