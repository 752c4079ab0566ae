#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/exec/job.hpp"

namespace loomy {

// Many payloads submitted together: one object and one place in the queue, whatever their number. Workers
// (and the caller) take part: each claims the next items from a shared cursor until none is left. At most one
// entry of a batch is in the queue at a time; who takes it puts it back for the next worker, so that
// participants join one after the other and none is woken for nothing.
class batch : public job {
  public:
    struct range {
        std::uint64_t begin, end;
        [[nodiscard]] bool empty() const noexcept { return begin >= end; }
    };

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t unclaimed() const noexcept {
        const std::uint64_t next = cursor_.load(std::memory_order_relaxed);
        return next < size_ ? size_ - next : 0;
    }

    // The next `want` items, or what is left of them. Wait-free.
    [[nodiscard]] range claim(std::uint64_t want) noexcept {
        if (unclaimed() == 0) return {size_, size_};
        const std::uint64_t begin = cursor_.fetch_add(want, std::memory_order_relaxed);
        return {std::min(begin, size_), std::min(begin + want, size_)};
    }
    // All that is left: it will not be run. Wait-free.
    [[nodiscard]] range claim_rest() noexcept {
        return {std::min(cursor_.exchange(size_, std::memory_order_relaxed), size_), size_};
    }

    // `items` that were claimed are done with. True for the call that ends the batch.
    // acq_rel: who ends it sees the results of all.
    [[nodiscard]] bool finish(std::uint64_t items) noexcept {
        return items != 0 && unfinished_.fetch_sub(items, std::memory_order_acq_rel) == items;
    }

    // Whether a worker that took the batch from the queue is to take part now. Those who do may invite
    // another worker later; somebody must be taking part when this says no.
    virtual bool joins(frame&) { return true; }
    // Claims and runs items until none is left; returns how many it finished with.
    virtual std::uint64_t take_part(frame& where) = 0;
    // These items will never start; their answer is `as`.
    virtual void items_abandoned(range which, phase as) = 0;

    bool run(frame&) final { return true; } // batches are run through take_part

  protected:
    explicit batch(std::uint64_t size) noexcept : job(shared), size_(size), unfinished_(size) {}
    ~batch() = default;

  private:
    friend class pool;

    const std::uint64_t size_;
    alignas(cache_line) std::atomic<std::uint64_t> cursor_{0};
    std::atomic<std::uint64_t> unfinished_;
    std::atomic<bool> queued_{false}; // an entry of it is in the queue, and counted
    // The pool's list of unfinished batches, guarded by its batches_lock_.
    batch* previous_ = nullptr;
    batch* next_ = nullptr;
    bool listed_ = false;
};

} // namespace loomy
