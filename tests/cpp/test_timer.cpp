#include "loomy/sync/timer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <ctime>
#endif

#include "loomy/sync/address_wait.hpp"

using namespace loomy;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int rounds = 1'000;
#else
constexpr int rounds = 10'000;
#endif

deadline in_ms(std::int64_t milliseconds) {
    return deadline::after(milliseconds * 1'000'000);
}

struct event final : timer_entry {
    std::atomic<int> count{0};
    std::int64_t at = 0;
    std::thread::id thread;

    void expired() override {
        at = now_ns();
        thread = std::this_thread::get_id();
        count.fetch_add(1, std::memory_order_release);
    }
    bool wait_for(int wanted, deadline until = in_ms(10'000)) const {
        while (count.load(std::memory_order_acquire) < wanted) {
            if (until.passed()) return false;
            std::this_thread::yield();
        }
        return true;
    }
};

// Holds the timer's thread until let go.
struct blocker final : timer_entry {
    std::atomic<bool> entered{false};
    std::atomic<bool> leave{false};
    std::atomic<bool> left{false};

    void expired() override {
        entered.store(true, std::memory_order_release);
        while (!leave.load(std::memory_order_acquire)) std::this_thread::yield();
        left.store(true, std::memory_order_release);
    }
    void wait_until_entered() const {
        while (!entered.load(std::memory_order_acquire)) std::this_thread::yield();
    }
};

struct in_order final : timer_entry {
    std::vector<int>* log = nullptr;
    int name = 0;
    std::atomic<int>* done = nullptr;

    void expired() override {
        log->push_back(name);
        done->fetch_add(1, std::memory_order_release);
    }
};

} // namespace

TEST_CASE("no thread before the first deadline") {
    timer& clock = timer::instance();
    CHECK_FALSE(clock.running());
    event one;
    CHECK_FALSE(clock.cancel(one));
    CHECK_FALSE(clock.running());
    clock.schedule(one, deadline::never());
    CHECK_FALSE(clock.running());
    CHECK(clock.scheduled() == 0);
}

TEST_CASE("an entry fires once, not before its deadline, on another thread") {
    event one;
    const deadline until = in_ms(20);
    timer::instance().schedule(one, until);
    CHECK(timer::instance().running());
    CHECK(one.wait_for(1));
    CHECK(one.at >= until.ns());
    CHECK(one.thread != std::this_thread::get_id());
    CHECK(timer::instance().scheduled() == 0);
    CHECK_FALSE(timer::instance().cancel(one));
    CHECK(one.count == 1);
}

TEST_CASE("a deadline that has passed fires at once") {
    event one, two;
    timer::instance().schedule(one, deadline::after(-1'000'000'000));
    timer::instance().schedule(two, deadline::at(-7));
    CHECK(one.wait_for(1));
    CHECK(two.wait_for(1));
}

TEST_CASE("a cancelled entry does not fire") {
    event one, marker;
    timer::instance().schedule(one, in_ms(20));
    timer::instance().schedule(marker, in_ms(40));
    CHECK(timer::instance().cancel(one));
    CHECK_FALSE(timer::instance().cancel(one));
    CHECK(marker.wait_for(1));
    CHECK(one.count == 0);
}

TEST_CASE("entries fire in the order of their deadlines, equal ones in the order they came") {
    constexpr int count = 500;
    std::vector<int> log;
    std::atomic<int> done{0};
    std::deque<in_order> entries(count);
    std::vector<std::pair<std::int64_t, int>> expected;
    const std::int64_t base = now_ns() + 50'000'000;
    std::mt19937 random(1);
    for (int i = 0; i < count; ++i) {
        in_order& one = entries[static_cast<std::size_t>(i)];
        one.log = &log;
        one.name = i;
        one.done = &done;
        const std::int64_t at = base + static_cast<std::int64_t>(random() % 50) * 1'000;
        expected.emplace_back(at, i);
        timer::instance().schedule(one, deadline::at(at));
    }
    std::stable_sort(expected.begin(), expected.end());
    const deadline patience = in_ms(10'000);
    while (done.load(std::memory_order_acquire) < count && !patience.passed()) std::this_thread::yield();
    REQUIRE(done == count);
    for (int i = 0; i < count; ++i) {
        REQUIRE(log[static_cast<std::size_t>(i)] == expected[static_cast<std::size_t>(i)].second);
    }
}

TEST_CASE("an earlier deadline wakes the sleeping thread") {
    event late, early;
    timer::instance().schedule(late, in_ms(3'600'000));
    std::this_thread::sleep_for(std::chrono::milliseconds(5)); // let it fall asleep
    timer::instance().schedule(early, in_ms(5));
    CHECK(early.wait_for(1));
    CHECK(late.count == 0);
    CHECK(timer::instance().cancel(late));
}

TEST_CASE("scheduling again moves an entry, both ways") {
    event one, marker;
    timer::instance().schedule(one, in_ms(3'600'000));
    timer::instance().schedule(one, in_ms(1));
    CHECK(one.wait_for(1));
    timer::instance().schedule(one, in_ms(10));
    timer::instance().schedule(one, in_ms(3'600'000));
    timer::instance().schedule(marker, in_ms(30));
    CHECK(marker.wait_for(1));
    CHECK(one.count == 1);
    CHECK(timer::instance().scheduled() == 1);
    timer::instance().schedule(one, deadline::never());
    CHECK(timer::instance().scheduled() == 0);
}

TEST_CASE("an entry may schedule itself again and cancel others") {
    struct periodic final : timer_entry {
        event* victim = nullptr;
        std::atomic<int> count{0};
        void expired() override {
            timer::instance().cancel(*victim);
            if (count.fetch_add(1, std::memory_order_release) + 1 < 5) {
                timer::instance().schedule(*this, deadline::after(100'000));
            }
        }
    };
    event victim;
    periodic one;
    one.victim = &victim;
    timer::instance().schedule(victim, in_ms(3'600'000));
    timer::instance().schedule(one, in_ms(1));
    const deadline patience = in_ms(10'000);
    while (one.count.load(std::memory_order_acquire) < 5 && !patience.passed()) std::this_thread::yield();
    CHECK(one.count == 5);
    CHECK(timer::instance().scheduled() == 0);
    CHECK(timer::stop(in_ms(10'000))); // `one` is on this stack
}

TEST_CASE("an unclaimed entry does not fire") {
    struct dying final : timer_entry {
        std::atomic<bool> asked{false};
        bool fired = false;
        bool claim() noexcept override {
            asked.store(true, std::memory_order_release);
            return false;
        }
        void expired() override { fired = true; }
    };
    dying one;
    event marker;
    timer::instance().schedule(one, deadline::after(0));
    timer::instance().schedule(marker, in_ms(5));
    CHECK(marker.wait_for(1));
    CHECK(one.asked);
    CHECK_FALSE(one.fired);
}

TEST_CASE("an idle timer uses no processor time") {
    event one;
    timer::instance().schedule(one, in_ms(3'600'000));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.02);
    CHECK(timer::instance().cancel(one));
}

TEST_CASE("stop ends the thread and schedule starts it again") {
    event kept, one;
    timer::instance().schedule(kept, in_ms(3'600'000));
    CHECK(timer::stop(in_ms(10'000)));
    CHECK_FALSE(timer::instance().running());
    CHECK(timer::instance().scheduled() == 1);
    CHECK(timer::stop(deadline::after(0))); // idempotent
    timer::instance().schedule(one, deadline::after(0));
    CHECK(timer::instance().running());
    CHECK(one.wait_for(1));
    CHECK(timer::instance().cancel(kept));
}

TEST_CASE("stop is bounded by its deadline, and a new thread takes over from a stuck one") {
    blocker stuck;
    event one;
    timer::instance().schedule(stuck, deadline::after(0));
    stuck.wait_until_entered();
    const std::int64_t before = now_ns();
    CHECK_FALSE(timer::stop(in_ms(20)));
    CHECK(now_ns() - before >= 20'000'000);
    timer::instance().schedule(one, deadline::after(0));
    CHECK(one.wait_for(1));
    CHECK_FALSE(stuck.left);
    stuck.leave.store(true, std::memory_order_release);
    CHECK(timer::stop(in_ms(10'000)));
    CHECK(stuck.left);
}

TEST_CASE("stop on the timer's own thread does not wait") {
    struct stops final : timer_entry {
        std::atomic<int> answer{-1};
        void expired() override { answer.store(timer::stop(in_ms(60'000)) ? 1 : 0); }
    };
    stops one;
    timer::instance().schedule(one, deadline::after(0));
    const deadline patience = in_ms(10'000);
    while (one.answer == -1 && !patience.passed()) std::this_thread::yield();
    CHECK(one.answer == 0);
    CHECK(timer::stop(in_ms(10'000)));
}

TEST_CASE("a thread that cannot be started is an error, and the next call tries again") {
    CHECK(timer::stop(in_ms(10'000)));
    timer::set_thread_starter([](timer::thread_entry, void*) { return false; });
    event one;
    CHECK_THROWS_AS(timer::instance().schedule(one, in_ms(1)), std::system_error);
    CHECK(timer::instance().scheduled() == 0);
    CHECK_FALSE(timer::instance().running());
    timer::set_thread_starter(nullptr);
    timer::instance().schedule(one, in_ms(1));
    CHECK(one.wait_for(1));
}

TEST_CASE("the thread is started by the function given") {
    static std::atomic<int> started{0};
    CHECK(timer::stop(in_ms(10'000)));
    timer::set_thread_starter([](timer::thread_entry entry, void* argument) {
        started.fetch_add(1);
        std::thread(entry, argument).detach();
        return true;
    });
    event one, two;
    timer::instance().schedule(one, deadline::after(0));
    timer::instance().schedule(two, deadline::after(0));
    CHECK(one.wait_for(1));
    CHECK(two.wait_for(1));
    CHECK(started == 1);
    timer::set_thread_starter(nullptr);
    CHECK(timer::stop(in_ms(10'000)));
}

TEST_CASE("cancel racing the deadline: an entry fires or was cancelled, never both") {
    std::mt19937 random(3);
    for (int round = 0; round < rounds; ++round) {
        // The timer may be in `expired` when cancel says false, so each waits for its end.
        event one;
        timer::instance().schedule(one, deadline::after(static_cast<std::int64_t>(random() % 20'000)));
        const std::int64_t gap = now_ns() + static_cast<std::int64_t>(random() % 30'000);
        while (now_ns() < gap) {
        }
        if (timer::instance().cancel(one)) {
            REQUIRE(one.count == 0);
        } else {
            REQUIRE(one.wait_for(1));
        }
    }
    CHECK(timer::stop(in_ms(10'000)));
}

TEST_CASE("storm: threads schedule, move and cancel, and the timer stops and starts") {
    std::atomic<std::int64_t> scheduled{0}, cancelled{0};
    std::atomic<bool> done{false};
    std::deque<event> entries(4 * 200);
    std::vector<std::thread> threads;
    for (std::size_t who = 0; who < 4; ++who) {
        threads.emplace_back([&, who] {
            std::mt19937 random(static_cast<unsigned>(who));
            std::vector<int> expected(200, 0);
            for (int i = 0; i < rounds; ++i) {
                const std::size_t index = random() % 200;
                event& one = entries[who * 200 + index];
                // Only what is not scheduled any more is scheduled: each schedule fires or is cancelled.
                if (one.count.load(std::memory_order_acquire) == expected[index]) {
                    ++expected[index];
                    scheduled.fetch_add(1, std::memory_order_relaxed);
                    timer::instance().schedule(one, deadline::after(random() % 500'000));
                } else if (timer::instance().cancel(one)) {
                    --expected[index];
                    cancelled.fetch_add(1, std::memory_order_relaxed);
                }
            }
        });
    }
    std::thread stopper([&] {
        while (!done.load()) {
            (void)timer::stop(in_ms(1));
            std::this_thread::sleep_for(std::chrono::microseconds(300));
        }
    });
    for (auto& one : threads) one.join();
    done = true;
    stopper.join();
    event last; // starts the thread once more, if need be
    timer::instance().schedule(last, in_ms(1));
    CHECK(last.wait_for(1));
    const deadline patience = in_ms(20'000);
    const auto fired = [&] {
        std::int64_t sum = 0;
        for (event& one : entries) sum += one.count.load(std::memory_order_acquire);
        return sum;
    };
    while (fired() != scheduled - cancelled && !patience.passed()) std::this_thread::yield();
    CHECK(fired() == scheduled - cancelled);
    CHECK(timer::stop(in_ms(10'000)));
    CHECK(timer::instance().scheduled() == 0);
}

#if !defined(_WIN32)
TEST_CASE("the thread blocks all signals, the caller's mask is unchanged") {
    struct looks final : timer_entry {
        std::atomic<int> blocked{-1};
        void expired() override {
            sigset_t mask;
            pthread_sigmask(SIG_SETMASK, nullptr, &mask);
            blocked.store(sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) ? 1 : 0);
        }
    };
    CHECK(timer::stop(in_ms(10'000)));
    looks one;
    timer::instance().schedule(one, deadline::after(0));
    const deadline patience = in_ms(10'000);
    while (one.blocked == -1 && !patience.passed()) std::this_thread::yield();
    CHECK(one.blocked == 1);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    CHECK(sigismember(&mask, SIGINT) == 0);
    CHECK(timer::stop(in_ms(10'000)));
}

#if !defined(__SANITIZE_THREAD__) // which lets no child of a threaded process start threads
TEST_CASE("the child of a fork has a timer of its own, whoever held the lock") {
    std::atomic<bool> stop{false};
    std::thread churn([&] {
        event one;
        while (!stop.load(std::memory_order_relaxed)) {
            timer::instance().schedule(one, in_ms(3'600'000));
            timer::instance().cancel(one);
        }
    });
    event before_fork;
    timer::instance().schedule(before_fork, in_ms(3'600'000));
    const std::uint32_t incarnation = timer::incarnation();
    for (int i = 0; i < 50; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(10);
            reset_address_wait_after_fork();
            timer::reset_after_fork();
            event one;
            bool good = !timer::instance().running() && timer::instance().scheduled() == 0 &&
                        timer::incarnation() != incarnation;
            good = good && !timer::instance().cancel(before_fork);
            timer::instance().schedule(one, deadline::after(0));
            timer::instance().schedule(before_fork, deadline::after(0));
            good = good && one.wait_for(1) && before_fork.wait_for(1) && timer::stop(in_ms(5'000));
            _exit(good ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        REQUIRE(WIFEXITED(status));
        REQUIRE(WEXITSTATUS(status) == 0);
    }
    stop = true;
    churn.join();
    CHECK(timer::instance().cancel(before_fork));
}

#if !defined( \
    __SANITIZE_ADDRESS__) // which calls leaked what the threads that are not there had on their stacks
TEST_CASE("an entry may fork") {
    struct forks final : timer_entry {
        std::atomic<int> status{-1};
        void expired() override {
            const pid_t child = fork();
            if (child == 0) {
                alarm(10);
                reset_address_wait_after_fork();
                timer::reset_after_fork();
                return; // the timer's loop ends, and with it the child's only thread
            }
            int result = 0;
            waitpid(child, &result, 0);
            status.store(WIFEXITED(result) ? WEXITSTATUS(result) : 100);
        }
    };
    forks one;
    timer::instance().schedule(one, deadline::after(0));
    const deadline patience = in_ms(15'000);
    while (one.status == -1 && !patience.passed()) std::this_thread::yield();
    CHECK(one.status.load() == 0);
    CHECK(timer::stop(in_ms(10'000)));
}
#endif
#endif
#endif
