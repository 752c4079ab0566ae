#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

// The pool that one writes when one needs a pool: one lock, one deque, condition variables that are notified
// only when somebody waits. It offers no more than the cases ask for.
class mutex_pool {
  public:
    static constexpr const char* name = "mutex + condvar";
    static constexpr const char* note = "";

    struct state {
        enum : int { queued, running, done, cancelled };
        std::atomic<int> phase{queued};
        std::mutex lock;
        std::condition_variable changed;
    };
    template <class>
    using ticket = std::shared_ptr<state>;

    explicit mutex_pool(unsigned size, int bound = -1) : bound_(bound) {
        for (unsigned i = 0; i < size; ++i) threads_.emplace_back([this] { live(); });
    }
    ~mutex_pool() {
        {
            const std::lock_guard guard(lock_);
            closed_ = true;
        }
        not_empty_.notify_all();
        for (std::thread& one : threads_) one.join();
    }
    mutex_pool(const mutex_pool&) = delete;
    mutex_pool& operator=(const mutex_pool&) = delete;

    template <class Function>
    void post(Function function) {
        bool wake = false;
        {
            std::unique_lock guard(lock_);
            if (bound_ >= 0) {
                ++blocked_;
                not_full_.wait(guard, [this] { return queue_.size() < static_cast<std::size_t>(bound_); });
                --blocked_;
            }
            queue_.emplace_back(std::move(function));
            wake = sleeping_ != 0;
            if (wake) ++wakes_;
        }
        if (wake) not_empty_.notify_one();
    }

    template <class Function>
    ticket<Function> submit(Function function) {
        auto made = std::make_shared<state>();
        post([made, function = std::move(function)]() mutable {
            int seen = state::queued;
            if (!made->phase.compare_exchange_strong(seen, state::running, std::memory_order_acq_rel)) return;
            function();
            {
                const std::lock_guard guard(made->lock);
                made->phase.store(state::done, std::memory_order_release);
            }
            made->changed.notify_all();
        });
        return made;
    }
    void wait(std::shared_ptr<state>& which) {
        std::unique_lock guard(which->lock);
        which->changed.wait(guard,
                            [&] { return which->phase.load(std::memory_order_acquire) >= state::done; });
    }
    // True: it will never run, and who waits for it knows.
    bool cancel(std::shared_ptr<state>& which) {
        {
            const std::lock_guard guard(which->lock);
            int seen = state::queued;
            if (!which->phase.compare_exchange_strong(seen, state::cancelled, std::memory_order_acq_rel))
                return false;
        }
        which->changed.notify_all();
        return true;
    }

    // One count for all, not a future each.
    template <class Function>
    void fan_out(std::uint64_t jobs, const Function& function) {
        std::mutex lock;
        std::condition_variable changed;
        bool done = false;
        std::atomic<std::uint64_t> left{jobs};
        for (std::uint64_t i = 0; i < jobs; ++i) {
            post([&] {
                function();
                if (left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
                const std::lock_guard guard(lock);
                done = true;
                changed.notify_one(); // under the lock: the waiter's frame goes away after it
            });
        }
        std::unique_lock guard(lock);
        changed.wait(guard, [&] { return done; });
    }

    [[nodiscard]] double wakes() {
        const std::lock_guard guard(lock_);
        return static_cast<double>(wakes_);
    }

  private:
    void live() {
        for (;;) {
            std::function<void()> next;
            bool room = false;
            {
                std::unique_lock guard(lock_);
                ++sleeping_;
                not_empty_.wait(guard, [this] { return closed_ || !queue_.empty(); });
                --sleeping_;
                if (queue_.empty()) return;
                next = std::move(queue_.front());
                queue_.pop_front();
                room = blocked_ != 0;
            }
            if (room) not_full_.notify_one();
            next();
        }
    }

    const int bound_;
    std::mutex lock_;
    std::condition_variable not_empty_, not_full_;
    std::deque<std::function<void()>> queue_;
    std::uint64_t sleeping_ = 0, blocked_ = 0, wakes_ = 0;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

} // namespace bench
