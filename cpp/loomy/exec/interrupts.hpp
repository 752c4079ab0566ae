#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

namespace loomy {

class job;

// Delivers "the job you are running was abandoned" to exactly that job: once, never while another job runs on
// the slot, and never after its successor has started. Used only by pools whose workers want to know.
// A stack, because a job that waits for another may run it nested on the same slot.
class interrupts {
  public:
    // The runner, before the function is called. May wait for a delivery in progress.
    void begin(const job& started) {
        std::unique_lock guard(lock_);
        // A delivery for the job that waits below us must not reach this one.
        delivered_.wait(guard, [&] { return running_.empty() || !running_.back().delivering; });
        running_.push_back({&started});
    }

    // The runner, after the function returned; `owed` says whether the job was abandoned. Waits for a
    // delivery in progress; what is owed and was not delivered yet is delivered here, outside the lock.
    template <class Deliver>
    void end(bool owed, Deliver&& deliver) {
        bool owed_to_outer = false;
        {
            std::unique_lock guard(lock_);
            delivered_.wait(guard, [&] { return !running_.back().delivering; });
            if ((owed || running_.back().due) && !running_.back().delivered) {
                running_.back().delivered = true; // so that no request comes in between
                guard.unlock();
                deliver();
                guard.lock();
            }
            running_.pop_back();
            if (!running_.empty() && running_.back().due && !running_.back().delivered) {
                running_.back().delivered = true;
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
            if (running_.empty()) return false;
            if (which == nullptr) which = running_.back().which;
            if (running_.back().which != which) {
                for (entry& one : running_) {
                    if (one.which != which) continue;
                    one.due = true;
                    return true;
                }
                return false;
            }
            if (running_.back().delivered || running_.back().delivering) return true;
            running_.back().delivering = true;
        }
        deliver();
        const std::lock_guard guard(lock_);
        running_.back().delivering = false; // begin and end waited for us, so it is still on top
        running_.back().delivered = true;
        delivered_.notify_all();
        return true;
    }

  private:
    struct entry {
        const job* which;
        bool due = false;
        bool delivering = false;
        bool delivered = false;
    };

    std::mutex lock_;
    std::condition_variable delivered_;
    std::vector<entry> running_;
};

} // namespace loomy
