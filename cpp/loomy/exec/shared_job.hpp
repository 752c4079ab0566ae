#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/exec/job.hpp"

namespace loomy {

// Work for any number of threads: one object and one place in the queue, whatever its size. Workers (and the
// caller) take part: each claims the next items from a shared cursor until none is left. At most one entry
// of it is in the queue at a time; who takes it puts it back for the next worker, so that participants join
// one after the other and none is woken for nothing.
class shared_job : public job {
  public:
    struct range {
        std::uint64_t begin, end;
        [[nodiscard]] bool empty() const noexcept { return begin >= end; }
        [[nodiscard]] std::uint64_t size() const noexcept { return empty() ? 0 : end - begin; }
    };

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint64_t unclaimed() const noexcept {
        const std::uint64_t next = cursor_.load(std::memory_order_relaxed);
        return next < size_ ? size_ - next : 0;
    }

    // The next `want` items, or what is left of them. Wait-free.
    // (1) release: who finds by (2) that something was claimed sees who runs it in the frame of its slot.
    [[nodiscard]] range claim(std::uint64_t want) noexcept {
        if (unclaimed() == 0) return {size_, size_};
        const std::uint64_t begin = cursor_.fetch_add(want, std::memory_order_release);
        return {std::min(begin, size_), std::min(begin + want, size_)};
    }
    [[nodiscard]] bool is_unclaimed(std::uint64_t item) const noexcept {
        return item < size_ && cursor_.load(std::memory_order_relaxed) <= item;
    }
    // The next item if it is before `end`, else nothing. Lock-free.
    [[nodiscard]] range claim_before(std::uint64_t end) noexcept {
        std::uint64_t next = cursor_.load(std::memory_order_relaxed);
        while (next < std::min(end, size_)) {
            if (cursor_.compare_exchange_weak(next, next + 1, std::memory_order_release, // as (1)
                                              std::memory_order_relaxed)) {
                return {next, next + 1};
            }
        }
        return {size_, size_};
    }
    // All that is left: it will not be run. Wait-free.
    [[nodiscard]] range claim_rest() noexcept {
        return {std::min(cursor_.exchange(size_, std::memory_order_relaxed), size_), size_};
    }

    // `items` that were claimed are done with. True for the call that ends the job.
    // acq_rel: who ends it sees the results of all.
    [[nodiscard]] bool finish(std::uint64_t items) noexcept {
        return items != 0 && unfinished_.fetch_sub(items, std::memory_order_acq_rel) == items;
    }

    // As how many jobs it counts, and how many of those have not started.
    [[nodiscard]] virtual std::uint64_t jobs() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t queued_jobs() const noexcept = 0;

    // Whether a thread that comes now may find something to do; if not, somebody is taking part, or nothing
    // is left.
    [[nodiscard]] virtual bool has_room() const noexcept { return unclaimed() != 0; }
    // Whether it is worth while to wake one more worker for it, besides so many that are about to take part.
    [[nodiscard]] virtual bool wants_more(std::uint32_t joining) const noexcept {
        (void)joining;
        return unclaimed() > 1;
    }
    // Whether a worker that took it from the queue is to take part now. Those who do may invite another
    // worker later; somebody must be taking part when this says no.
    virtual bool joins(frame&) { return true; }
    // Claims and runs items until none is left; returns how many it finished with.
    virtual std::uint64_t take_part(frame& where) = 0;

    // What is left of it will not be run. Empty when there is nothing that a close may refuse.
    [[nodiscard]] virtual range claim_refused() noexcept { return claim_rest(); }
    [[nodiscard]] virtual bool is_refusable() const noexcept { return unclaimed() != 0; }
    // These items, which were claimed with claim_rest once the job was abandoned, will never start; their
    // answer is `as`. Returns how many of its jobs that are.
    virtual std::uint64_t items_abandoned(range which, phase as) = 0;
    // The same for items claimed with claim_refused, of a job that may be abandoned at the same time.
    virtual std::uint64_t items_refused(range which, phase as) { return items_abandoned(which, as); }
    // All items are done with: its last word before it is published, or after it was abandoned. On the thread
    // that ended it, on the slot of `where` if that has one.
    virtual void ended(frame* where) { (void)where; }
    // Those who take part are to end early: the job is over, as `as`.
    virtual void raise_stop(phase as) { (void)as; }
    // Whether its answer may be given while participants are still inside.
    [[nodiscard]] virtual bool can_be_abandoned() const noexcept { return true; }

    bool run(frame&) final { return true; } // run through take_part

  protected:
    shared_job(std::uint64_t size, std::uint32_t flags) noexcept
        : job(shared | flags), size_(size), unfinished_(size) {}
    ~shared_job() = default;

    // All of it, if nobody has claimed anything. Lock-free.
    [[nodiscard]] range claim_whole() noexcept {
        std::uint64_t nothing = 0;
        // (2) acquire is for the failure; for the success too, as GCC 12 warns of less.
        const bool whole = cursor_.compare_exchange_strong(nothing, size_, std::memory_order_acquire);
        return {whole ? 0 : size_, size_};
    }
    [[nodiscard]] bool is_untouched() const noexcept { return cursor_.load(std::memory_order_relaxed) == 0; }

  private:
    friend class pool;

    const std::uint64_t size_;
    alignas(cache_line) std::atomic<std::uint64_t> cursor_{0};
    std::atomic<std::uint64_t> unfinished_;
    std::atomic<bool> queued_{false}; // an entry of it is in the queue, and counted
    // The pool's list of unfinished shared jobs, guarded by its shared_lock_.
    shared_job* previous_ = nullptr;
    shared_job* next_ = nullptr;
    bool listed_ = false;
};

} // namespace loomy
