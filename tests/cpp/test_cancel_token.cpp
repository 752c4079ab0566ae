#include "loomy/sync/cancel_token.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "loomy/sync/address_wait.hpp"

using namespace loomy;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int rounds = 200;
#else
constexpr int rounds = 2000;
#endif

constexpr std::int64_t ms = 1'000'000;

deadline in(std::int64_t milliseconds) {
    return deadline::after(milliseconds * ms);
}

struct counter final : cancel_token::callback {
    std::atomic<int> count{0};
    std::atomic<cancel_reason> reason{cancel_reason::none};
    std::thread::id thread;

    void fired(cancel_reason why) override {
        thread = std::this_thread::get_id();
        reason.store(why, std::memory_order_relaxed);
        count.fetch_add(1, std::memory_order_release);
    }
    bool wait_for_one(deadline until) const {
        while (count.load(std::memory_order_acquire) == 0) {
            if (until.passed()) return false;
            std::this_thread::yield();
        }
        return true;
    }
};

struct recorder final : cancel_token::callback {
    std::vector<int>& log;
    int name;
    recorder(std::vector<int>& where, int what) : log(where), name(what) {}
    void fired(cancel_reason) override { log.push_back(name); }
};

std::vector<ref<cancel_token>> chain_of(int length) {
    std::vector<ref<cancel_token>> chain{cancel_token::make()};
    while (static_cast<int>(chain.size()) < length) {
        chain.push_back(cancel_token::make(deadline::never(), chain.back().get()));
    }
    return chain;
}

// A thread that is about to sleep for others, and lets them wait until it does.
class sleeper {
  public:
    void about_to_sleep() noexcept {
#if defined(__linux__)
        id_.store(syscall(SYS_gettid), std::memory_order_release);
#else
        id_.store(1, std::memory_order_release);
#endif
    }
    void wait_until_asleep() const {
        while (id_.load(std::memory_order_acquire) == 0) std::this_thread::yield();
#if defined(__linux__)
        const std::string path = "/proc/self/task/" + std::to_string(id_.load()) + "/stat";
        for (std::string id, name, state; state != "S"; std::this_thread::yield()) {
            std::ifstream(path) >> id >> name >> state;
        }
#else
        std::this_thread::sleep_for(std::chrono::milliseconds(20)); // what others say of a thread differs
#endif
    }

  private:
    std::atomic<long> id_{0};
};

} // namespace

TEST_CASE("a new token is not cancelled") {
    const auto token = cancel_token::make();
    CHECK(token->poll() == cancel_reason::none);
    CHECK(token->check() == cancel_reason::none);
    CHECK(token->flag().load() == 0);
    CHECK(token->when().is_never());
    CHECK(token->parent() == nullptr);
    CHECK(token->detail().empty());
}

TEST_CASE("the first cancel wins") {
    const auto token = cancel_token::make();
    CHECK(token->cancel(cancel_reason::cancelled, "shutting down"));
    CHECK_FALSE(token->cancel(cancel_reason::deadline_exceeded, "too late"));
    CHECK(token->poll() == cancel_reason::cancelled);
    CHECK(token->flag().load() != 0);
    CHECK(token->detail() == "shutting down");
}

TEST_CASE("cancelling a parent cancels the whole tree, with its reason") {
    const auto root = cancel_token::make();
    const auto child = cancel_token::make(deadline::never(), root.get());
    const auto sibling = cancel_token::make(deadline::never(), root.get());
    const auto grandchild = cancel_token::make(deadline::never(), child.get());
    CHECK(grandchild->parent() == child.get());
    root->cancel(cancel_reason::deadline_exceeded, "why");
    for (const auto& one : {child, sibling, grandchild}) {
        CHECK(one->poll() == cancel_reason::deadline_exceeded);
        CHECK(one->detail() == "why");
        CHECK_FALSE(one->cancel());
    }
}

TEST_CASE("cancelling a child leaves its parent and its siblings alone") {
    const auto root = cancel_token::make();
    const auto child = cancel_token::make(deadline::never(), root.get());
    const auto sibling = cancel_token::make(deadline::never(), root.get());
    child->cancel(cancel_reason::cancelled, "only this one");
    CHECK(root->poll() == cancel_reason::none);
    CHECK(sibling->poll() == cancel_reason::none);
    root->cancel(cancel_reason::deadline_exceeded, "all");
    CHECK(child->poll() == cancel_reason::cancelled);
    CHECK(child->detail() == "only this one");
}

TEST_CASE("a child of a cancelled parent is born cancelled") {
    const auto root = cancel_token::make();
    root->cancel(cancel_reason::deadline_exceeded, "early");
    const auto child = cancel_token::make(deadline::never(), root.get());
    const auto grandchild = cancel_token::make(deadline::never(), child.get());
    CHECK(child->poll() == cancel_reason::deadline_exceeded);
    CHECK(grandchild->detail() == "early");
    counter told;
    CHECK_FALSE(grandchild->add(told));
    CHECK(told.count == 0);
}

TEST_CASE("a child outlives the parent's other references") {
    auto root = cancel_token::make(in(3'600'000));
    const auto child = cancel_token::make(deadline::never(), root.get());
    cancel_token* const address = root.get();
    root.reset();
    CHECK(child->parent() == address);
    CHECK(child->parent()->poll() == cancel_reason::none);
}

TEST_CASE("the deadline is the earlier of the token's and its parent's") {
    const auto early = in(1'000);
    const auto late = in(2'000);
    const auto root = cancel_token::make(early);
    CHECK(cancel_token::make(late, root.get())->when() == early);
    CHECK(cancel_token::make(deadline::never(), root.get())->when() == early);
    const auto other = cancel_token::make(late);
    CHECK(cancel_token::make(early, other.get())->when() == early);
}

TEST_CASE("check notices a deadline that nothing watches") {
    const auto token = cancel_token::make(in(5));
    const auto child = cancel_token::make(deadline::never(), token.get());
    counter told;
    CHECK(token->add(told, cancel_token::watch::no));
    while (!token->when().passed()) std::this_thread::yield();
    CHECK(token->poll() == cancel_reason::none);
    CHECK(token->check() == cancel_reason::deadline_exceeded);
    CHECK(token->poll() == cancel_reason::deadline_exceeded);
    CHECK(child->poll() == cancel_reason::deadline_exceeded);
    CHECK(told.count == 1);
    CHECK(told.reason == cancel_reason::deadline_exceeded);
    CHECK(told.thread == std::this_thread::get_id());
}

TEST_CASE("a watched deadline fires on the timer's thread") {
    const auto token = cancel_token::make(in(10));
    const auto child = cancel_token::make(deadline::never(), token.get());
    counter told, child_told;
    CHECK(child->add(child_told, cancel_token::watch::no));
    CHECK(token->add(told));
    CHECK(told.wait_for_one(in(10'000)));
    CHECK(child_told.wait_for_one(in(10'000)));
    CHECK(told.thread != std::this_thread::get_id());
    CHECK(told.reason == cancel_reason::deadline_exceeded);
    CHECK(token->when().passed());
    CHECK(child->poll() == cancel_reason::deadline_exceeded);
}

TEST_CASE("watch_deadline alone lets a polled flag change") {
    const auto token = cancel_token::make(in(10));
    token->watch_deadline();
    token->watch_deadline();
    const deadline patience = in(10'000);
    while (token->flag().load(std::memory_order_relaxed) == 0 && !patience.passed())
        std::this_thread::yield();
    CHECK(token->poll() == cancel_reason::deadline_exceeded);
}

TEST_CASE("adding to a token whose deadline has passed says so") {
    const auto token = cancel_token::make(deadline::after(-1));
    counter told;
    CHECK_FALSE(token->add(told));
    CHECK(token->poll() == cancel_reason::deadline_exceeded);
}

TEST_CASE("the timer lets go of a token that is cancelled or dies") {
    timer& clock = timer::instance();
    const std::size_t before = clock.scheduled();
    auto token = cancel_token::make(in(3'600'000));
    token->watch_deadline();
    CHECK(clock.scheduled() == before + 1);
    token->cancel();
    CHECK(clock.scheduled() == before);
    token->watch_deadline();
    CHECK(clock.scheduled() == before);
    token = cancel_token::make(in(3'600'000));
    token->watch_deadline();
    token.reset();
    CHECK(clock.scheduled() == before);
}

TEST_CASE("distant deadlines do not pile up") {
    timer& clock = timer::instance();
    const std::size_t before = clock.scheduled();
    for (int i = 0; i < rounds * 100; ++i) {
        const auto token = cancel_token::make(in(3'600'000));
        token->watch_deadline();
    }
    CHECK(clock.scheduled() == before);
}

TEST_CASE("callbacks fire in the order they were added, the parent's before the child's") {
    const auto root = cancel_token::make();
    const auto child = cancel_token::make(deadline::never(), root.get());
    std::vector<int> log;
    recorder of_child{log, 3}, first{log, 1}, second{log, 2};
    child->add(of_child);
    root->add(first);
    root->add(second);
    root->cancel();
    CHECK(log == std::vector<int>{1, 2, 3});
}

TEST_CASE("a callback sees the whole tree cancelled") {
    struct looks final : cancel_token::callback {
        cancel_token* below;
        cancel_reason seen = cancel_reason::none;
        void fired(cancel_reason) override { seen = below->poll(); }
    };
    const auto chain = chain_of(100);
    looks look;
    look.below = chain.back().get();
    chain.front()->add(look);
    chain.front()->cancel();
    CHECK(look.seen == cancel_reason::cancelled);
}

TEST_CASE("a removed callback does not fire") {
    const auto token = cancel_token::make();
    std::array<counter, 3> told;
    for (auto& one : told) CHECK(token->add(one));
    CHECK(token->remove(told[1]));
    CHECK_FALSE(token->remove(told[1]));
    token->cancel();
    CHECK(told[0].count == 1);
    CHECK(told[1].count == 0);
    CHECK(told[2].count == 1);
    CHECK_FALSE(token->remove(told[0]));
}

TEST_CASE("a callback can be added again after it was removed") {
    const auto token = cancel_token::make();
    counter told;
    for (int i = 0; i < 3; ++i) {
        CHECK(token->add(told));
        CHECK(token->remove(told));
    }
    CHECK(token->add(told));
    token->cancel();
    CHECK(told.count == 1);
}

TEST_CASE("a callback may delete itself and drop the last reference to its token") {
    struct owner final : cancel_token::callback {
        ref<cancel_token> token;
        bool& gone;
        owner(ref<cancel_token> one, bool& flag) : token(std::move(one)), gone(flag) {}
        ~owner() { gone = true; }
        void fired(cancel_reason) override { delete this; }
    };
    bool gone = false;
    auto token = cancel_token::make();
    cancel_token* const address = token.get();
    CHECK(address->add(*new owner(std::move(token), gone)));
    CHECK(address->cancel());
    CHECK(gone);
}

TEST_CASE("a callback learns that its token died uncancelled") {
    struct survivor final : cancel_token::callback {
        int fired_count = 0;
        int abandoned_count = 0;
        void fired(cancel_reason) override { ++fired_count; }
        void abandoned() noexcept override { ++abandoned_count; }
    };
    survivor kept, removed, cancelled;
    auto token = cancel_token::make();
    token->add(kept);
    token->add(removed);
    token->remove(removed);
    token.reset();
    CHECK(kept.abandoned_count == 1);
    CHECK(removed.abandoned_count == 0);
    token = cancel_token::make();
    token->add(cancelled);
    token->cancel();
    token.reset();
    CHECK(cancelled.abandoned_count == 0);
    CHECK(kept.fired_count + removed.fired_count == 0);
    CHECK(cancelled.fired_count == 1);
}

TEST_CASE("the callbacks of a token that others hold are not visited") {
    const auto token = cancel_token::make();
    counter one, two;
    token->add(one);
    token->add(two);
    int visited = 0;
    const auto count = [&](cancel_token::callback&) { ++visited; };
    {
        const auto child = cancel_token::make(deadline::never(), token.get());
        token->visit_if_unshared(count);
        CHECK(visited == 0);
    }
    token->visit_if_unshared(count);
    CHECK(visited == 2);
    token->cancel();
    token->visit_if_unshared(count);
    CHECK(visited == 2);
}

TEST_CASE("a callback may cancel, add and make children") {
    struct busy final : cancel_token::callback {
        cancel_token* token;
        cancel_token* other;
        counter late;
        bool added = true;
        cancel_reason born = cancel_reason::none;
        void fired(cancel_reason) override {
            other->cancel();
            added = token->add(late);
            born = cancel_token::make(deadline::never(), token)->poll();
        }
    };
    const auto token = cancel_token::make();
    const auto other = cancel_token::make();
    busy one;
    one.token = token.get();
    one.other = other.get();
    token->add(one);
    token->cancel();
    CHECK(other->poll() == cancel_reason::cancelled);
    CHECK_FALSE(one.added);
    CHECK(one.born == cancel_reason::cancelled);
}

TEST_CASE("a wait ends when the token is cancelled") {
    const auto token = cancel_token::make();
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        token->cancel();
    });
    CHECK(token->wait() == cancel_wait::cancelled);
    CHECK(token->wait() == cancel_wait::cancelled);
    other.join();
}

TEST_CASE("a wait ends when the parent is cancelled") {
    const auto root = cancel_token::make();
    const auto child = cancel_token::make(deadline::never(), root.get());
    std::thread other([&] { root->cancel(); });
    CHECK(child->wait() == cancel_wait::cancelled);
    other.join();
}

TEST_CASE("whoever a cancel wakes finds all of the tree cancelled") {
    for (int round = 0; round < rounds / 20; ++round) {
        const auto parent = cancel_token::make();
        std::vector<ref<cancel_token>> children(500);
        for (auto& child : children) child = cancel_token::make(deadline::never(), parent.get());
        std::array<std::size_t, 2> uncancelled{};
        std::array<sleeper, 2> here;
        std::array<std::thread, 2> waiters;
        for (std::size_t i = 0; i < waiters.size(); ++i) {
            waiters[i] = std::thread([&, i] {
                const auto& mine = i == 0 ? children.front() : children.back();
                here[i].about_to_sleep();
                CHECK(mine->wait(deadline::never()) == cancel_wait::cancelled);
                for (const auto& child : children) uncancelled[i] += child->poll() == cancel_reason::none;
            });
        }
        // One that did not sleep may look at its own token in the middle of the marking.
        for (const sleeper& one : here) one.wait_until_asleep();
        CHECK(parent->cancel());
        for (std::thread& waiter : waiters) waiter.join();
        CHECK(uncancelled == std::array<std::size_t, 2>{});
    }
}

TEST_CASE("a wait times out") {
    const auto token = cancel_token::make();
    const deadline until = in(10);
    CHECK(token->wait(until) == cancel_wait::timed_out);
    CHECK(until.passed());
    CHECK(token->wait(deadline::at(-5)) == cancel_wait::timed_out);
    CHECK(token->poll() == cancel_reason::none);
}

TEST_CASE("a wait ends at the token's deadline without a timer") {
    const auto token = cancel_token::make(in(10));
    CHECK(token->wait(in(10'000)) == cancel_wait::cancelled);
    CHECK(token->poll() == cancel_reason::deadline_exceeded);
    CHECK(token->when().passed());
}

TEST_CASE("many waiters are all woken") {
    const auto token = cancel_token::make();
    std::atomic<int> woken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            if (token->wait() == cancel_wait::cancelled) woken.fetch_add(1, std::memory_order_relaxed);
        });
    }
    token->cancel();
    for (auto& one : threads) one.join();
    CHECK(woken == 8);
}

#if !defined(_WIN32)
TEST_CASE("a signal interrupts a wait") {
    if (!address_wait_is_interruptible()) return;
    struct sigaction action = {}, before = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, &before);
    const auto token = cancel_token::make();
    std::atomic<bool> done{false};
    const pthread_t waiter = pthread_self();
    std::thread other([&] {
        while (!done.load()) { // a signal may arrive before the wait
            pthread_kill(waiter, SIGUSR1);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    CHECK(token->wait(in(20'000)) == cancel_wait::interrupted);
    done = true;
    other.join();
    sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("a fork finds the tokens whole, whatever other threads do") {
    const auto root = cancel_token::make();
    std::atomic<bool> stop{false};
    std::thread churn([&] {
        while (!stop.load(std::memory_order_relaxed)) {
            const auto child = cancel_token::make(deadline::never(), root.get());
        }
    });
    for (int i = 0; i < 50; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(10);
            reset_address_wait_after_fork();
            timer::reset_after_fork();
            counter told;
            const auto below = cancel_token::make(deadline::never(), root.get());
            const bool good = below->add(told) && root->cancel() && told.count == 1 &&
                              below->poll() == cancel_reason::cancelled;
            _exit(good ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
    stop = true;
    churn.join();
    CHECK(root->poll() == cancel_reason::none);
}

#if !defined(__SANITIZE_THREAD__) // which lets no child of a threaded process start threads
TEST_CASE("a deadline is watched again in the child of a fork") {
    const auto token = cancel_token::make(in(200));
    token->watch_deadline();
    const pid_t child = fork();
    if (child == 0) {
        alarm(10);
        reset_address_wait_after_fork();
        timer::reset_after_fork();
        counter told;
        const bool good = token->add(told) && told.wait_for_one(in(5'000));
        _exit(good ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}
#endif
#endif

TEST_CASE("a long-lived parent does not grow with its short-lived children") {
    const auto root = cancel_token::make();
    auto kept = cancel_token::make(deadline::never(), root.get());
    for (int i = 0; i < rounds * 500; ++i) {
        auto child = cancel_token::make(deadline::never(), root.get());
        // Out of order, so that the first, a middle and the last of the list are unlinked.
        if (i % 3 == 0) kept = std::move(child);
    }
    root->cancel();
    CHECK(kept->poll() == cancel_reason::cancelled);
}

TEST_CASE("a deep chain is cancelled and released without recursion") {
    auto chain = chain_of(100'000);
    chain.front()->cancel();
    CHECK(chain.back()->poll() == cancel_reason::cancelled);
    auto last = chain.back();
    chain.clear();
    last.reset();
}

TEST_CASE("releasing the leaf of an uncancelled chain releases all of it") {
    auto chain = chain_of(100'000);
    auto last = chain.back();
    chain.clear();
    CHECK(last->poll() == cancel_reason::none);
    last.reset(); // the address sanitizer would report what is left
}

TEST_CASE("racing cancels: one wins and each callback fires once, with its reason") {
    for (int round = 0; round < rounds; ++round) {
        const auto root = cancel_token::make();
        const auto child = cancel_token::make(deadline::never(), root.get());
        counter told, child_told;
        root->add(told);
        child->add(child_told);
        std::barrier start(3);
        std::atomic<int> winners{0};
        const auto race = [&](cancel_token* token, cancel_reason reason) {
            start.arrive_and_wait();
            if (token->cancel(reason)) winners.fetch_add(1, std::memory_order_relaxed);
        };
        std::thread a(race, root.get(), cancel_reason::cancelled);
        std::thread b(race, root.get(), cancel_reason::deadline_exceeded);
        std::thread c(race, child.get(), cancel_reason::cancelled);
        a.join();
        b.join();
        c.join();
        REQUIRE(winners >= 1);
        REQUIRE(winners <= 2);
        REQUIRE(told.count == 1);
        REQUIRE(told.reason == root->poll());
        REQUIRE(child_told.count == 1);
        REQUIRE(child_told.reason == child->poll());
    }
}

TEST_CASE("cancel racing remove: a callback is either removed or fires, never both") {
    constexpr int callbacks = 16;
    for (int round = 0; round < rounds; ++round) {
        const auto token = cancel_token::make();
        std::array<counter, callbacks> told;
        for (auto& one : told) token->add(one);
        std::barrier start(3);
        std::array<bool, callbacks> removed{};
        const auto remove = [&](int first) {
            start.arrive_and_wait();
            for (int i = first; i < callbacks; i += 2) removed[i] = token->remove(told[i]);
        };
        std::thread a(remove, 0), b(remove, 1);
        start.arrive_and_wait();
        token->cancel();
        a.join();
        b.join();
        for (int i = 0; i < callbacks; ++i) REQUIRE(told[i].count == (removed[i] ? 0 : 1));
    }
}

TEST_CASE("cancel racing add: a callback is either refused or fires") {
    constexpr int callbacks = 16;
    for (int round = 0; round < rounds; ++round) {
        const auto token = cancel_token::make();
        std::array<counter, callbacks> told;
        std::array<bool, callbacks> added{};
        std::barrier start(2);
        std::thread adder([&] {
            start.arrive_and_wait();
            for (int i = 0; i < callbacks; ++i) added[i] = token->add(told[i]);
        });
        start.arrive_and_wait();
        token->cancel();
        adder.join();
        for (int i = 0; i < callbacks; ++i) REQUIRE(told[i].count == (added[i] ? 1 : 0));
    }
}

TEST_CASE("cancel racing the creation and destruction of children misses none") {
    for (int round = 0; round < rounds; ++round) {
        auto root = cancel_token::make();
        std::barrier start(3);
        const auto churn = [&, mine = root] {
            std::vector<ref<cancel_token>> children;
            start.arrive_and_wait();
            for (int i = 0; i < 64; ++i) {
                children.push_back(cancel_token::make(deadline::never(), mine.get()));
                if (i % 3 == 0) children.erase(children.begin());
            }
            // Joined with the cancel below: all that exist now are cancelled.
            start.arrive_and_wait();
            for (const auto& one : children) {
                if (one->poll() != cancel_reason::cancelled) return false;
            }
            return true;
        };
        bool good_a = false, good_b = false;
        std::thread a([&] { good_a = churn(); });
        std::thread b([&] { good_b = churn(); });
        start.arrive_and_wait();
        root->cancel();
        start.arrive_and_wait();
        root.reset();
        a.join();
        b.join();
        REQUIRE(good_a);
        REQUIRE(good_b);
    }
}

TEST_CASE("a wait racing a cancel is never lost") {
    for (int round = 0; round < rounds; ++round) {
        const auto token = cancel_token::make();
        std::barrier start(2);
        std::thread other([&] {
            start.arrive_and_wait();
            token->cancel();
        });
        start.arrive_and_wait();
        REQUIRE(token->wait(in(20'000)) == cancel_wait::cancelled);
        other.join();
    }
}

TEST_CASE("deadline, cancel and the last release race: at most one firing") {
    struct shared_counter final : cancel_token::callback {
        ref<cancel_token> token;
        std::atomic<int>& fired_count;
        shared_counter(ref<cancel_token> one, std::atomic<int>& count)
            : token(std::move(one)), fired_count(count) {}
        void fired(cancel_reason) override {
            fired_count.fetch_add(1, std::memory_order_release);
            delete this;
        }
    };
    std::atomic<int> fired_count{0};
    int expected = 0;
    std::mt19937 random(7);
    for (int round = 0; round < rounds; ++round) {
        const auto at = deadline::after(static_cast<std::int64_t>(random() % 100'000));
        auto root = cancel_token::make(at);
        auto child = cancel_token::make(at, root.get());
        root->watch_deadline();
        auto callback = std::make_unique<shared_counter>(child, fired_count);
        if (child->add(*callback)) {
            (void)callback.release();
            ++expected;
        }
        std::thread other([token = std::move(child)] { token->cancel(); });
        if (random() % 2 == 0) root->cancel();
        root.reset();
        other.join();
    }
    const deadline patience = in(10'000);
    while (fired_count.load(std::memory_order_acquire) != expected && !patience.passed()) {
        std::this_thread::yield();
    }
    CHECK(fired_count == expected);
    CHECK(timer::instance().scheduled() == 0);
}

TEST_CASE("storm: threads make, cancel, add, remove and drop tokens of one tree") {
    const auto root = cancel_token::make();
    std::vector<std::thread> threads;
    std::atomic<int> mismatches{0};
    for (unsigned seed = 0; seed < 4; ++seed) {
        threads.emplace_back([&, seed] {
            std::mt19937 random(seed);
            std::vector<ref<cancel_token>> tokens{root};
            for (int i = 0; i < rounds * 20; ++i) {
                const auto& token = tokens[random() % tokens.size()];
                switch (random() % 5) {
                    case 0:
                    case 1:
                        tokens.push_back(cancel_token::make(
                            random() % 4 == 0 ? deadline::after(random() % 200'000) : deadline::never(),
                            token.get()));
                        break;
                    case 2: {
                        counter told;
                        if (token->add(told)) {
                            const bool removed = token->remove(told);
                            if (!removed && !told.wait_for_one(in(10'000))) mismatches.fetch_add(1);
                            if (removed && told.count != 0) mismatches.fetch_add(1);
                        }
                        break;
                    }
                    case 3:
                        if (token.get() != root.get()) token->cancel();
                        break;
                    default:
                        if (tokens.size() > 20) tokens.resize(1);
                }
            }
        });
    }
    for (auto& one : threads) one.join();
    CHECK(mismatches == 0);
    CHECK(root->poll() == cancel_reason::none);
    CHECK(root->cancel());
}
