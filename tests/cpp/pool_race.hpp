#pragma once

// Short races, run thousands of times: a fresh object, the parties let go at the same moment with a random
// delay each, then a check while nobody runs.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "loomy/base/cpu.hpp"

namespace loomy::testing {

#if defined(__SANITIZE_THREAD__)
inline constexpr int slowness = 10;
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr int slowness = 5;
#else
inline constexpr int slowness = 1;
#endif

// How often something is tried that a thread may do at the wrong moment. Not as much less often under a
// sanitizer as that is slower: it sees more.
[[nodiscard]] constexpr int rounds_of(int plain) noexcept {
    return slowness == 1 ? plain : 2 * plain / slowness;
}

// LOOMY_LONG=1: more rounds than a test run that somebody waits for can have.
[[nodiscard]] inline bool take_long() noexcept {
    const char* const wish = std::getenv("LOOMY_LONG");
    return wish != nullptr && *wish != '\0' && *wish != '0';
}

inline void pause_for(unsigned spins) noexcept {
    for (unsigned i = 0; i < spins; ++i) cpu_pause();
}

// One step of a wait that is mostly short, the `times`-th. After a few of them it sleeps: on a busy machine
// each yield lets pass the time slices of all the others, while who wakes up has the CPU soon.
inline void stand_by(unsigned times) {
    if (times < 200) {
        cpu_pause();
    } else if (times < 205) {
        std::this_thread::yield();
    } else {
        std::this_thread::sleep_for(std::chrono::microseconds(1)); // 50 us or so, as systems round it
    }
}

template <class Done>
void spin_until(Done&& done) {
    for (unsigned times = 0; !done(); ++times) stand_by(times);
}

// Ends the process with a message when tick() was not called for so long: a lost wake-up is a hang, and a
// hang must say where it happened. Only such time counts in which this thread was woken about when it asked
// to be: on a machine that is too busy for that, or stood still, others were not to be had either.
class watchdog {
  public:
    explicit watchdog(const char* what, std::chrono::seconds patience = std::chrono::seconds(10))
        : what_(what), patience_(patience * slowness), thread_([this] { watch(); }) {}
    ~watchdog() {
        {
            const std::lock_guard guard(lock_);
            stopped_ = true;
        }
        wake_.notify_all();
        thread_.join();
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

    void tick() noexcept { ticks_.fetch_add(1, std::memory_order_relaxed); }

  private:
    void watch() {
        using clock = std::chrono::steady_clock;
        constexpr std::chrono::milliseconds slice(50);
        std::unique_lock guard(lock_);
        std::uint64_t seen = ticks_.load(std::memory_order_relaxed);
        for (std::chrono::nanoseconds waited(0); waited < patience_;) {
            const clock::time_point asked = clock::now();
            if (wake_.wait_for(guard, slice, [this] { return stopped_; })) return;
            if (clock::now() - asked < 2 * slice) waited += slice;
            const std::uint64_t now = ticks_.load(std::memory_order_relaxed);
            if (now != seen) waited = std::chrono::nanoseconds(0);
            seen = now;
        }
        std::fprintf(stderr, "watchdog: no progress in: %s (after %llu steps)\n", what_,
                     static_cast<unsigned long long>(seen));
        std::_Exit(134); // no handlers: they might wait for what hangs
    }

    const char* const what_;
    const std::chrono::nanoseconds patience_;
    std::atomic<std::uint64_t> ticks_{0};
    std::mutex lock_;
    std::condition_variable wake_;
    bool stopped_ = false; // guarded by lock_
    std::thread thread_;
};

// Runs `parties` against each other, `rounds` times. They take turns on the threads: on a busy machine the
// calling one tends to be first. Some of them sleep first, so that on a single CPU too another one may go
// before.
inline void race(int rounds, const std::function<void()>& prepare,
                 const std::vector<std::function<void()>>& parties, const std::function<void()>& check) {
    // Pauses, up to the length of what races here, times a few; the shorter, the more often.
    constexpr unsigned most_doublings = 6;
    std::atomic<int> round{0};
    std::atomic<int> arrived{0};
    std::atomic<int> finished{0};
    const int others = static_cast<int>(parties.size()) - 1;
    const auto take_part = [&](int me, int i, std::mt19937& random) {
        pause_for(static_cast<unsigned>(random() % (1u << random() % (most_doublings + 1))));
        if (random() % 32 == 0) std::this_thread::sleep_for(std::chrono::microseconds(1));
        parties[static_cast<std::size_t>(me + i) % parties.size()]();
    };
    const auto await = [](const std::atomic<int>& word, int wanted) {
        spin_until([&] { return word.load(std::memory_order_acquire) == wanted; });
    };
    std::vector<std::thread> threads;
    for (int me = 1; me <= others; ++me) {
        threads.emplace_back([&, me] {
            std::mt19937 random(static_cast<unsigned>(me));
            for (int i = 1; i <= rounds; ++i) {
                await(round, i);
                arrived.fetch_add(1, std::memory_order_acq_rel);
                await(arrived, others + 1); // together, once the last one has been given a CPU
                take_part(me, i, random);
                finished.fetch_add(1, std::memory_order_acq_rel);
            }
        });
    }
    std::mt19937 random(0);
    for (int i = 1; i <= rounds; ++i) {
        prepare();
        arrived.store(0, std::memory_order_relaxed);
        finished.store(0, std::memory_order_relaxed);
        round.store(i, std::memory_order_release);
        await(arrived, others);
        arrived.fetch_add(1, std::memory_order_acq_rel);
        take_part(0, i, random);
        await(finished, others);
        check();
    }
    for (std::thread& one : threads) one.join();
}

} // namespace loomy::testing
