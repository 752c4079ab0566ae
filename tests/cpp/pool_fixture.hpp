#pragma once

// A pool whose threads do what a test wants, and which is checked when the test is over: every thread has
// gone, and everything that was submitted is accounted for.

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/observer.hpp"
#include "loomy/exec/pool.hpp"
#include "pool_race.hpp"

namespace loomy::testing {

// What the surroundings of the workers do; nothing where nothing is given.
struct script {
    std::function<bool(slot&)> start; // false: the system has no thread to give
    std::function<bool(slot&)> ready;
    std::function<void(job&)> enter;
    std::function<void()> leave; // only of threads that entered
    std::function<void(slot&)> interrupt;
};

class scripted_env final : public worker_env {
  public:
    explicit scripted_env(const script& what) : what_(what) {}
    bool ready(slot& self) override { return !what_.ready || what_.ready(self); }
    void enter(job& next) override {
        if (!std::exchange(inside_, true) && what_.enter) what_.enter(next);
    }
    void leave() override {
        if (std::exchange(inside_, false) && what_.leave) what_.leave();
    }
    void retire(slot&) override {}
    [[nodiscard]] bool inside() const noexcept { return inside_; }

  private:
    const script& what_;
    bool inside_ = false;
};

class scripted_threads final : public observer {
  public:
    explicit scripted_threads(script what_) : what(std::move(what_)) {}

    bool start_thread(slot& self) override {
        if (what.start && !what.start(self)) return false;
        alive.fetch_add(1);
        try {
            std::thread([this, &self, home = &self.owner] {
                {
                    scripted_env env(what);
                    home->run_worker(self, env);
                    home->release(); // the thread's reference
                }
                alive.fetch_sub(1);
            }).detach();
        } catch (const std::exception&) { // no thread, or no memory for one
            alive.fetch_sub(1);
            return false;
        }
        return true;
    }
    void worker_joined(std::uint32_t) override { joined.fetch_add(1); }
    void worker_left(std::uint32_t) override { left.fetch_add(1); }
    void interrupt(slot& self) override {
        if (what.interrupt) what.interrupt(self);
    }

    const script what;
    std::atomic<int> alive{0}, joined{0}, left{0};
};

inline deadline in_ms(std::int64_t milliseconds) {
    return deadline::after(milliseconds * 1'000'000);
}

// Until it is true, or false after ten seconds. For what a test is about to check, not for synchronising.
template <class Condition>
[[nodiscard]] bool eventually(Condition&& condition) {
    const deadline patience = in_ms(10'000 * slowness);
    for (unsigned times = 0; !condition(); ++times) {
        if (patience.passed()) return false;
        stand_by(times);
    }
    return true;
}

class pool_fixture {
  public:
    explicit pool_fixture(std::uint32_t size, pool_options options = {}, script what = {})
        : threads(std::move(what)), core(ref<pool>::adopt(new pool(options, threads))) {
        REQUIRE(core->resize(size));
    }
    ~pool_fixture() {
        core->drain();
        CHECK(wait_until_empty() == wait_status::woken);
        CHECK(eventually([&] { return threads.alive == 0; }));
        CHECK(threads.joined == threads.left);
        const pool_stats at_rest = core->stats();
        CHECK(at_rest.queued == 0);
        CHECK(at_rest.running == 0);
        CHECK(at_rest.workers == 0);
        CHECK(core->queue_length() == 0);
        CHECK(core->executing() == 0);
        CHECK(at_rest.submitted ==
              at_rest.completed + at_rest.failed + at_rest.cancelled + at_rest.timed_out);
    }
    pool_fixture(const pool_fixture&) = delete;
    pool_fixture& operator=(const pool_fixture&) = delete;

    pool* operator->() const noexcept { return core.get(); }
    pool& operator*() const noexcept { return *core; }

    // Nobody runs, nobody looks for work: all slots are free. Who has them all knows it; counters change
    // earlier.
    [[nodiscard]] bool settles() const {
        return eventually([&] {
            std::vector<slot*> taken;
            while (slot* const one = core->try_borrow_to_share()) taken.push_back(one);
            const bool all = taken.size() == core->workers();
            for (slot* const one : taken) core->give_back(*one);
            return all;
        });
    }

    scripted_threads threads;
    ref<pool> core;

  private:
    // A disturbance interrupts this wait as well.
    [[nodiscard]] wait_status wait_until_empty() const {
        const deadline patience = in_ms(20'000 * slowness);
        wait_status status = wait_status::interrupted;
        while (status == wait_status::interrupted) status = core->wait_for_size(0, patience);
        return status;
    }
};

// A gate that jobs wait at. Not through the pool: a job that waits here occupies its worker.
class gate {
  public:
    void pass() {
        arrived_.fetch_add(1);
        while (open_.load() == 0) {
            if (wait_on_address(open_, 0, deadline::never()) == wait_status::woken) continue;
        }
    }
    void open() {
        open_.store(1);
        wake_all_at_address(&open_);
    }
    [[nodiscard]] int arrived() const noexcept { return arrived_.load(); }
    [[nodiscard]] bool await(int wanted) const {
        return eventually([&] { return arrived_.load() >= wanted; });
    }

  private:
    std::atomic<int> arrived_{0};
    std::atomic<std::uint32_t> open_{0};
};

} // namespace loomy::testing
