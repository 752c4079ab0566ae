#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <utility>

namespace loomy {

class job;

// Delivers "the job you are running was abandoned" to exactly that job: once, never while another job runs on
// the slot, and never after its successor has started. Used only by pools whose workers want to know.
// A stack, because a job that waits for another may run it nested on the same slot; of entries that the
// runners have, because a worker that has a job already could tell nobody that there is no memory for one.
class interrupts {
  public:
    struct entry {
        std::atomic<const job*> which{nullptr}; // only compared: what it points at may be gone
        entry* below = nullptr;
        bool due = false;
        bool delivering = false;
        bool delivered = false;
    };

    // The runner, before the function is called; `mine` stays where it is until the end. May wait for a
    // delivery in progress.
    void begin(entry& mine, const job& started) {
        std::unique_lock guard(lock_);
        // A delivery for the job that waits below us must not reach this one.
        delivered_.wait(guard, [&] { return top_ == nullptr || !top_->delivering; });
        mine.which.store(&started, std::memory_order_relaxed);
        mine.below = top_;
        mine.due = mine.delivering = mine.delivered = false;
        top_ = &mine;
    }

    // The runner, before it publishes: then the job may be gone at once, and the next one lie in its place
    // and run on another slot, which a request for it must find. What is owed to this one `end` delivers.
    // Relaxed: a request for the next one comes, through its submission, after the publication of this one.
    static void retract(entry& mine) noexcept { mine.which.store(nullptr, std::memory_order_relaxed); }

    // The runner, after the function returned; `owed` says whether the job was abandoned. Waits for a
    // delivery in progress; what is owed and was not delivered yet is delivered here, outside the lock.
    template <class Deliver>
    void end(bool owed, Deliver&& deliver) {
        bool owed_to_outer = false;
        {
            std::unique_lock guard(lock_);
            delivered_.wait(guard, [&] { return !top_->delivering; });
            if ((owed || top_->due) && !top_->delivered) {
                top_->delivered = true; // so that no request comes in between
                guard.unlock();
                deliver();
                guard.lock();
            }
            top_ = top_->below;
            if (top_ != nullptr && top_->due && !top_->delivered) {
                top_->delivered = true;
                owed_to_outer = true;
            }
        }
        if (owed_to_outer) deliver();
    }

    // Any thread. Delivers if that job (null: whichever) is the one running; if it waits further down the
    // stack it is told when it is on top again. False: it does not run here (any more): its runner has seen
    // to it.
    template <class Deliver>
    bool request(const job* which, Deliver&& deliver) {
        {
            const std::lock_guard guard(lock_);
            if (top_ == nullptr) return false;
            const job* const top = top_->which.load(std::memory_order_relaxed);
            if (which == nullptr) which = top;
            if (which == nullptr) return false;
            if (top != which) {
                for (entry* one = top_->below; one != nullptr; one = one->below) {
                    if (one->which.load(std::memory_order_relaxed) != which) continue;
                    one->due = true;
                    return true;
                }
                return false;
            }
            if (top_->delivered || top_->delivering) return true;
            top_->delivering = true;
        }
        deliver();
        const std::lock_guard guard(lock_);
        top_->delivering = false; // begin and end waited for us, so it is still on top
        top_->delivered = true;
        delivered_.notify_all();
        return true;
    }

    // In the child of a fork: who was delivering is not here.
    void die_in_child() noexcept {
        new (&lock_) std::mutex;
        new (&delivered_) std::condition_variable;
        if (top_ != nullptr && std::exchange(top_->delivering, false)) top_->delivered = true;
    }

  private:
    std::mutex lock_;
    std::condition_variable delivered_;
    entry* top_ = nullptr; // the innermost
};

} // namespace loomy
