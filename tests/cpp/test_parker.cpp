#include "loomy/sync/parker.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <csignal>
#endif

#include "loomy/sync/address_wait.hpp"

using namespace loomy;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int rounds = 2'000;
#else
constexpr int rounds = 20'000;
#endif

deadline in_ms(std::int64_t milliseconds) {
    return deadline::after(milliseconds * 1'000'000);
}

void busy_for(std::int64_t ns) {
    const std::int64_t until = now_ns() + ns;
    while (now_ns() < until) {
    }
}

} // namespace

TEST_CASE("an unpark before the park makes it return at once") {
    parker one;
    CHECK_FALSE(one.unpark()); // nobody slept: no system call
    CHECK(one.park() == wait_status::woken);
}

TEST_CASE("at most one token is kept") {
    parker one;
    one.unpark();
    one.unpark();
    CHECK(one.park() == wait_status::woken);
    CHECK(one.park(in_ms(5)) == wait_status::timed_out);
}

TEST_CASE("try_take takes a token without waiting") {
    parker one;
    CHECK_FALSE(one.try_take());
    one.unpark();
    CHECK(one.try_take());
    CHECK_FALSE(one.try_take());
}

TEST_CASE("a park times out, not early, and can be used again") {
    parker one;
    const deadline until = in_ms(10);
    CHECK(one.park(until) == wait_status::timed_out);
    CHECK(until.passed());
    CHECK(one.park(deadline::after(0)) == wait_status::timed_out);
    one.unpark();
    CHECK(one.park(deadline::after(0)) == wait_status::woken);
}

TEST_CASE("an unpark wakes a parked thread") {
    parker one;
    std::atomic<bool> woken{false};
    std::thread sleeper([&] { woken = one.park(in_ms(20'000)) == wait_status::woken; });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    one.unpark();
    sleeper.join();
    CHECK(woken);
}

TEST_CASE("what was written before the unpark is seen after the park") {
    for (int round = 0; round < rounds / 10; ++round) {
        parker one;
        int value = 0;
        std::thread other([&] {
            value = 42; // no atomic: the thread sanitizer checks the pairing
            one.unpark();
        });
        REQUIRE(one.park(in_ms(20'000)) == wait_status::woken);
        REQUIRE(value == 42);
        other.join();
    }
}

TEST_CASE("no wake is lost in a ping-pong with random gaps") {
    parker ping, pong;
    bool good = true;
    std::thread other([&] {
        std::mt19937 random(1);
        for (int i = 0; i < rounds; ++i) {
            if (ping.park(in_ms(20'000)) != wait_status::woken) good = false;
            busy_for(static_cast<std::int64_t>(random() % 3'000));
            pong.unpark();
        }
    });
    std::mt19937 random(2);
    int lost = 0;
    for (int i = 0; i < rounds; ++i) {
        busy_for(static_cast<std::int64_t>(random() % 3'000));
        ping.unpark();
        busy_for(static_cast<std::int64_t>(random() % 3'000));
        if (pong.park(in_ms(20'000)) != wait_status::woken) ++lost;
    }
    other.join();
    CHECK(good);
    CHECK(lost == 0);
}

TEST_CASE("a timeout racing an unpark keeps or delivers the token, never both") {
    std::mt19937 random(5);
    parker one;
    std::atomic<int> go{0};
    std::thread other([&] {
        std::mt19937 gaps(6);
        for (int i = 1; i <= rounds; ++i) {
            while (go.load(std::memory_order_acquire) < i) std::this_thread::yield();
            busy_for(static_cast<std::int64_t>(gaps() % 60'000));
            one.unpark();
            go.store(-i, std::memory_order_release);
            while (go.load(std::memory_order_acquire) < 0) std::this_thread::yield();
        }
    });
    int bad = 0;
    for (int i = 1; i <= rounds; ++i) {
        go.store(i, std::memory_order_release);
        const wait_status status = one.park(deadline::after(static_cast<std::int64_t>(random() % 60'000)));
        while (go.load(std::memory_order_acquire) != -i) std::this_thread::yield();
        if ((status == wait_status::woken) == one.try_take()) ++bad;
        go.store(0, std::memory_order_release);
    }
    other.join();
    CHECK(bad == 0);
}

TEST_CASE("unparking a parker that is gone by then is harmless") {
    for (int round = 0; round < rounds / 10; ++round) {
        // The sleeper destroys its parker the moment it has the token; the waker has only the address left.
        auto* one = new parker;
        std::thread waker([one] { one->unpark(); });
        REQUIRE(one->park(in_ms(20'000)) == wait_status::woken);
        delete one;
        waker.join();
    }
}

TEST_CASE("a wake needs only the address of an object that has vanished") {
    auto word = std::make_unique<std::atomic<std::uint32_t>>(0);
    // Volatile keeps the compiler from seeing (and warning of) the use of a deleted object's address.
    const volatile auto bits = reinterpret_cast<std::uintptr_t>(word.get());
    word.reset();
    const auto* const address = reinterpret_cast<const std::atomic<std::uint32_t>*>(bits);
    wake_one_at_address(address);
    wake_all_at_address(address);
    wake_one_at_address(nullptr);
}

TEST_CASE("a stray wake at a reused address does not end a park") {
    parker one;
    std::atomic<bool> stop{false};
    std::thread stray([&] {
        // The parker's word is its first and only member.
        const auto* word = reinterpret_cast<const std::atomic<std::uint32_t>*>(&one);
        while (!stop.load()) wake_all_at_address(word);
    });
    CHECK(one.park(in_ms(20)) == wait_status::timed_out);
    stop = true;
    stray.join();
}

TEST_CASE("a wait on a word that has changed already returns") {
    std::atomic<std::uint32_t> word{1};
    CHECK(wait_on_address(word, 0, deadline::never()) == wait_status::woken);
}

TEST_CASE("a wait on a word times out") {
    std::atomic<std::uint32_t> word{0};
    const deadline until = in_ms(10);
    wait_status status;
    do {
        status = wait_on_address(word, 0, until);
    } while (status == wait_status::woken); // for no reason
    CHECK(status == wait_status::timed_out);
    CHECK(until.passed());
}

TEST_CASE("wake_one wakes one waiter, wake_all the rest") {
    constexpr int waiters = 6;
    std::atomic<std::uint32_t> word{0};
    std::atomic<int> ready{0}, woken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < waiters; ++i) {
        threads.emplace_back([&] {
            ready.fetch_add(1);
            if (wait_on_address(word, 0, in_ms(20'000)) == wait_status::woken) woken.fetch_add(1);
        });
    }
    while (ready < waiters) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(woken == 0); // the word keeps its value, so only wakes count from here
    wake_one_at_address(&word);
    const deadline patience = in_ms(10'000);
    while (woken < 1 && !patience.passed()) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(woken == 1);
    word = 1;
    wake_all_at_address(&word);
    for (auto& one : threads) one.join();
    CHECK(woken == waiters);
}

TEST_CASE("waiters of different words do not take each other's wakes") {
    constexpr int pairs = 200; // more than the portable table has buckets
    std::vector<std::atomic<std::uint32_t>> words(pairs);
    std::atomic<int> lost{0};
    std::vector<std::thread> threads;
    for (int group = 0; group < 4; ++group) {
        threads.emplace_back([&, group] {
            for (int i = group; i < pairs; i += 4) {
                auto& word = words[static_cast<std::size_t>(i)];
                while (word.load(std::memory_order_acquire) == 0) {
                    if (wait_on_address(word, 0, in_ms(20'000)) == wait_status::timed_out) {
                        lost.fetch_add(1);
                        break;
                    }
                }
            }
        });
    }
    for (auto& word : words) {
        word.store(1, std::memory_order_release);
        wake_one_at_address(&word);
    }
    for (auto& one : threads) one.join();
    CHECK(lost == 0);
}

#if !defined(_WIN32)
TEST_CASE("a signal interrupts a park where waits are interruptible") {
    if (!address_wait_is_interruptible()) return;
    struct sigaction action = {}, before = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, &before);
    parker one;
    std::atomic<bool> done{false};
    const pthread_t sleeper = pthread_self();
    std::thread other([&] {
        while (!done.load()) { // a signal may arrive before the park
            pthread_kill(sleeper, SIGUSR1);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    CHECK(one.park(in_ms(20'000)) == wait_status::interrupted);
    done = true;
    other.join();
    one.unpark();
    CHECK(one.park() == wait_status::woken); // an interrupted park leaves the parker usable
    sigaction(SIGUSR1, &before, nullptr);
}
#endif
