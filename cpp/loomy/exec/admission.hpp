#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy {

// Whether a pool takes jobs, how many were submitted, and how many it holds that have not started: those that
// came in less those that left. Submitters write one word and workers another, on lines of their own, as a
// line that both write for each job costs more than all else that admission does.
//
// A submitter learns with the same instruction that counts it whether the pool is open, and one that comes
// after the close backs out. Closing marks both words, `entered_` first: who leaves after the second mark
// sees whether it was the last, and who left before it has been counted when the closer looks.
class admission {
  public:
    // Counts one job in and submitted, the `nth`; false when closed, and then it has to back_out().
    // Wait-free.
    [[nodiscard]] bool enter(std::uint64_t& nth) noexcept {
        const std::uint64_t before = entered_.fetch_add(1, std::memory_order_seq_cst);
        nth = (before & count_mask) + 1;
        return (before & closed) == 0;
    }

    // Counts in what had been submitted before (a batch goes back into the queue for the next worker).
    // Wait-free.
    void reenter() noexcept {
        entered_.fetch_add(1, std::memory_order_seq_cst);
        uncount_submitted(1);
    }

    // Jobs besides the one that each entry stands for: items of a batch, what its own thread runs without an
    // entry. Wait-free.
    void count_submitted(std::uint64_t jobs) noexcept {
        submitted_otherwise_.fetch_add(jobs, std::memory_order_relaxed);
    }
    // What was counted. (U1) release: whoever reads this reads that as well.
    void uncount_submitted(std::uint64_t jobs) noexcept {
        submitted_otherwise_.fetch_sub(jobs, std::memory_order_release);
    }

    enum class left { open, closed, closed_and_empty };
    // Counts jobs out that started or were abandoned. Wait-free.
    left leave(std::uint64_t jobs = 1) noexcept {
        const std::uint64_t before = left_.fetch_add(jobs, std::memory_order_seq_cst);
        if ((before & closed) == 0) return left::open;
        const std::uint64_t all = entered_.load(std::memory_order_seq_cst) & count_mask;
        return all == (before & count_mask) + jobs ? left::closed_and_empty : left::closed;
    }

    // Counts a job out that came in and was not submitted after all. Wait-free.
    left back_out() noexcept {
        const left what = leave();
        uncount_submitted(1);
        return what;
    }

    // True for the one call that closed it. Wait-free.
    bool close() noexcept {
        const bool first = (entered_.fetch_or(closed, std::memory_order_seq_cst) & closed) == 0;
        left_.fetch_or(closed, std::memory_order_seq_cst);
        return first;
    }

    [[nodiscard]] bool is_closed() const noexcept {
        return (entered_.load(std::memory_order_seq_cst) & closed) != 0;
    }
    // Nothing was queued at the moment that this began. (Those that left are read first: as many may have
    // come in and left since, but not fewer.)
    [[nodiscard]] bool is_empty() const noexcept {
        const std::uint64_t gone = left_.load(std::memory_order_seq_cst) & count_mask;
        return (entered_.load(std::memory_order_seq_cst) & count_mask) == gone;
    }
    // Open, and nothing is queued.
    [[nodiscard]] bool is_open_and_empty() const noexcept {
        const std::uint64_t gone = left_.load(std::memory_order_seq_cst);
        return (gone & closed) == 0 && entered_.load(std::memory_order_seq_cst) == gone;
    }

    // How many were queued at a moment during the call: when those that came in were read, if nobody left
    // around that. Somebody always did, time and again: the lowest that was read, which is no less than there
    // were then.
    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t lowest = ~std::uint64_t{0};
        std::uint64_t gone = left_.load(std::memory_order_seq_cst);
        for (int looks = 0; looks < most_looks; ++looks) {
            const std::uint64_t in = entered_.load(std::memory_order_seq_cst) & count_mask;
            const std::uint64_t after = left_.load(std::memory_order_seq_cst);
            if (after == gone) return in - (gone & count_mask);
            lowest = std::min(lowest, in - (gone & count_mask));
            gone = after;
        }
        return lowest;
    }
    // (U2) acquire, and first: pairs with (U1), so it is never less than none.
    [[nodiscard]] std::uint64_t submitted() const noexcept {
        const std::uint64_t otherwise = submitted_otherwise_.load(std::memory_order_acquire);
        return (entered_.load(std::memory_order_relaxed) & count_mask) + otherwise;
    }

    // How many are queued once the nth is, itself included, of which workers may have taken some by now: as
    // far as submitters know, who may know of more that left than came before it, without a look at what
    // workers write; and as counted, for the next to know.
    [[nodiscard]] std::uint64_t depth_as_known(std::uint64_t nth) const noexcept {
        const std::uint64_t gone = left_seen_.load(std::memory_order_relaxed);
        return nth > gone ? nth - gone : nth;
    }
    [[nodiscard]] std::uint64_t depth(std::uint64_t nth) noexcept {
        const std::uint64_t gone = left_.load(std::memory_order_relaxed) & count_mask;
        left_seen_.store(gone, std::memory_order_relaxed);
        return nth > gone ? nth - gone : 1;
    }

  private:
    static constexpr std::uint64_t closed = std::uint64_t{1} << 63;
    static constexpr std::uint64_t count_mask = closed - 1;
    static constexpr int most_looks = 16;

    alignas(cache_line) std::atomic<std::uint64_t> entered_{0};
    std::atomic<std::uint64_t> left_seen_{0}; // by submitters: never more than left_
    // What has to be added to the entries, modulo 2^64: 0 as long as jobs are submitted one by one.
    std::atomic<std::uint64_t> submitted_otherwise_{0};
    alignas(cache_line) std::atomic<std::uint64_t> left_{0};
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
