#pragma once

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "loomy/exec/batch.hpp"
#include "loomy/exec/frame.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/native_threads.hpp"
#include "loomy/exec/pool.hpp"

namespace bench {

class loomy_pool {
  public:
    static constexpr const char* name = "loomy";
    static constexpr const char* note = "";

    template <class Function>
    using ticket = loomy::job_handle<loomy::function_job<Function>>;

    // `bound`: how many jobs may be queued; negative: any number.
    explicit loomy_pool(unsigned size, int bound = -1)
        : core_(loomy::ref<loomy::pool>::adopt(new loomy::pool(options(bound), threads_))) {
        if (!core_->resize(size)) throw std::runtime_error("the pool cannot be made");
    }
    ~loomy_pool() {
        core_->drain();
        (void)core_->wait_for_size(0, loomy::deadline::never());
    }
    loomy_pool(const loomy_pool&) = delete;
    loomy_pool& operator=(const loomy_pool&) = delete;

    // Waits for a place where there is a bound.
    template <class Function>
    ticket<Function> submit(Function function) {
        ticket<Function> made = loomy::make_job(std::move(function));
        for (;;) {
            switch (core_->submit(*made)) {
                case loomy::submitted::accepted:
                    return made;
                case loomy::submitted::full:
                    (void)core_->wait_for_place(loomy::deadline::never(), nullptr);
                    continue;
                default:
                    (void)made->drop_hold();
                    throw std::runtime_error("the pool takes no job");
            }
        }
    }
    template <class Function>
    void post(Function function) {
        (void)submit(std::move(function));
    }
    template <class Job>
    void wait(loomy::job_handle<Job>& which) {
        while (!which->finished()) (void)core_->wait(*which, loomy::deadline::never());
    }
    // True: it will never run.
    template <class Job>
    bool cancel(loomy::job_handle<Job>& which) {
        return core_->abandon_queued(*which, loomy::phase::cancelled);
    }

    // Runs `function` so many times and waits until all have.
    template <class Function>
    void fan_out(std::uint64_t jobs, const Function& function) {
        std::vector<ticket<Function>> made;
        made.reserve(jobs);
        for (std::uint64_t i = 0; i < jobs; ++i) made.push_back(submit(function));
        // The youngest first: mostly the others are done by then.
        for (auto one = made.rbegin(); one != made.rend(); ++one) wait(*one);
    }

    [[nodiscard]] double wakes() const { return static_cast<double>(core_->stats().wakes); }
    [[nodiscard]] loomy::pool& core() const noexcept { return *core_; }

  private:
    static loomy::pool_options options(int bound) {
        loomy::pool_options chosen;
        chosen.max_pending = bound;
        return chosen;
    }

    loomy::native_threads threads_;
    loomy::ref<loomy::pool> core_;
};

// The same pool, used as `process` and `process_batch` use it: the caller runs a job itself on a free slot,
// and many jobs are one batch.
class loomy_pool_with_caller : public loomy_pool {
  public:
    static constexpr const char* name = "loomy, caller takes part";
    static constexpr const char* note = "";

    using loomy_pool::loomy_pool;

    // Submits and waits, in one: on this thread if a slot is free and nothing is queued before it.
    template <class Function>
    void call(Function function) {
        loomy::slot* const free = core().try_borrow();
        if (free == nullptr) {
            auto queued = submit(std::move(function));
            wait(queued);
            return;
        }
        auto made = loomy::make_job(std::move(function));
        bool ran = false;
        {
            loomy::frame here(core(), *free, env_, false);
            ran = core().run_here(*made, here);
        }
        core().give_back(*free);
        if (!ran) throw std::runtime_error("the pool is closed");
    }

    template <class Function>
    void fan_out(std::uint64_t jobs, const Function& function) {
        if (jobs == 1) return call(function);
        const loomy::job_handle<items<Function>> all(new items<Function>(jobs, function));
        loomy::slot* const free = core().try_borrow_to_share();
        if (core().submit(*all) != loomy::submitted::accepted)
            throw std::runtime_error("the pool takes no batch");
        if (free != nullptr) {
            {
                loomy::frame here(core(), *free, env_, false);
                core().take_part(*all, here);
            }
            core().give_back(*free);
        }
        while (!all->finished()) (void)core().wait(*all, loomy::deadline::never());
    }

  private:
    template <class Function>
    class items final : public loomy::batch {
      public:
        items(std::uint64_t size, const Function& function) : batch(size), function_(function) { add_hold(); }
        std::uint64_t take_part(loomy::frame&) override {
            std::uint64_t done = 0;
            for (;;) {
                // As the bindings do while items are short: a few at a time, but not of the last.
                const range mine = claim(unclaimed() > 1'000 ? 8 : 1);
                if (mine.empty()) return done;
                for (std::uint64_t i = mine.begin; i < mine.end; ++i) function_();
                done += mine.end - mine.begin;
            }
        }
        std::uint64_t payloads_abandoned(range which, loomy::phase) override { return which.size(); }
        void on_abandoned(loomy::phase, bool) override {}
        void dispose() override { delete this; }

      private:
        const Function function_;
    };

    loomy::native_env env_;
};

} // namespace bench
