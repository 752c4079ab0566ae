#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "measure.hpp"
#include "queues/item.hpp"
#include "team.hpp"

namespace bench {

inline constexpr std::size_t item_count = 64; // a power of two

// The same few items again and again: their cache lines are read by all and written by nobody, so what is
// measured is the queue.
inline std::array<item, item_count>& items() {
    static std::array<item, item_count> all = [] {
        std::array<item, item_count> made{};
        for (std::size_t i = 0; i < item_count; ++i) made[i].value = i + 1;
        return made;
    }();
    return all;
}

// The sum of the values of the first `count` items a producer sends.
inline std::uint64_t expected_sum(std::uint64_t count) {
    std::uint64_t sum = count / item_count * (item_count * (item_count + 1) / 2);
    for (std::uint64_t i = 0; i < count % item_count; ++i) sum += items()[i].value;
    return sum;
}

// One thread: a push, then a pop. ns are per pair.
template <class Queue>
class queue_pairs final : public counted_contender {
  public:
    void run(std::uint64_t operations) override {
        sum_ = 0;
        for (std::uint64_t i = 0; i < operations; ++i) {
            user_.try_push(&items()[i % item_count]);
            sum_ += user_.try_pop()->value;
        }
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.check(sum_ == expected_sum(operations), "the sum of what came out is wrong");
    }

  private:
    Queue queue_;
    typename Queue::user user_{queue_};
    std::uint64_t sum_ = 0;
};

// One thread: a backlog is pushed, then popped, again and again. ns are per item.
template <class Queue>
class queue_backlog final : public counted_contender {
  public:
    void run(std::uint64_t operations) override {
        sum_ = 0;
        for (std::uint64_t done = 0; done < operations;) {
            const std::uint64_t end = std::min(operations, done + backlog);
            for (std::uint64_t i = done; i < end; ++i) user_.try_push(&items()[i % item_count]);
            for (; done < end; ++done) sum_ += user_.try_pop()->value;
        }
    }
    void finish(std::uint64_t operations, sample& taken) override {
        taken.check(sum_ == expected_sum(operations), "the sum of what came out is wrong");
    }

  private:
    static constexpr std::uint64_t backlog = 10'000;

    Queue queue_;
    typename Queue::user user_{queue_};
    std::uint64_t sum_ = 0;
};

// Producers and consumers, each a thread of its own. ns are wall time per item, whoever carries it.
template <class Queue>
class queue_transfer final : public counted_contender {
  public:
    // `bulk`: how many items are offered and taken at a time.
    queue_transfer(unsigned producers, unsigned consumers, std::size_t bulk)
        : producers_(producers), consumers_(consumers), bulk_(bulk), sums_(consumers) {}

    void prepare(std::uint64_t operations) override {
        share_ = std::max<std::uint64_t>(1, operations / producers_);
        left_.store(static_cast<std::int64_t>(share_ * producers_), std::memory_order_relaxed);
        std::fill(sums_.begin(), sums_.end(), padded{});
        helpers_.line_up();
    }
    void run(std::uint64_t) override { helpers_.run(); }
    void finish(std::uint64_t operations, sample& taken) override {
        // As many as all producers sent, which rounding may make fewer than asked for.
        taken.ns *= static_cast<double>(operations) / static_cast<double>(share_ * producers_);
        std::uint64_t sum = 0;
        for (const padded& one : sums_) sum += one.value;
        taken.check(sum == producers_ * expected_sum(share_), "the sum of what came out is wrong");
    }

  private:
    struct alignas(64) padded {
        std::uint64_t value = 0;
    };
    static constexpr std::size_t most_at_once = 32;

    void work(unsigned self) {
        typename Queue::user user(queue_);
        if (self < producers_) {
            produce(user);
        } else {
            sums_[self - producers_].value = consume(user);
        }
    }

    void produce(typename Queue::user& user) {
        std::array<item*, most_at_once> next{};
        patience idle;
        for (std::uint64_t sent = 0; sent < share_;) {
            const std::size_t count = std::min<std::uint64_t>(bulk_, share_ - sent);
            for (std::size_t i = 0; i < count; ++i) next[i] = &items()[(sent + i) % item_count];
            const std::size_t in =
                bulk_ == 1 ? user.try_push(next[0]) : user.try_push_many(next.data(), count);
            sent += in;
            in != 0 ? idle.reset() : idle.wait();
        }
    }

    std::uint64_t consume(typename Queue::user& user) {
        std::array<item*, most_at_once> got{};
        std::uint64_t sum = 0;
        patience idle;
        // The count of what is left is everybody's, so it is touched once in a few tens of items, and at the
        // end of what there is.
        std::int64_t untold = 0;
        for (;;) {
            std::size_t count = 0;
            if (bulk_ == 1) {
                got[0] = user.try_pop();
                count = got[0] != nullptr ? 1 : 0;
            } else {
                count = user.try_pop_many(got.data(), bulk_);
            }
            for (std::size_t i = 0; i < count; ++i) sum += got[i]->value;
            untold += static_cast<std::int64_t>(count);
            if (count != 0 && untold < 64) continue;
            if (untold != 0 && left_.fetch_sub(untold, std::memory_order_relaxed) == untold) return sum;
            untold = 0;
            if (count != 0) {
                idle.reset();
                continue;
            }
            if (left_.load(std::memory_order_relaxed) == 0) return sum;
            idle.wait();
        }
    }

    const unsigned producers_, consumers_;
    const std::size_t bulk_;
    Queue queue_;
    std::uint64_t share_ = 0;
    std::vector<padded> sums_;
    alignas(64) std::atomic<std::int64_t> left_{0};
    team helpers_{producers_ + consumers_, [this](unsigned self) { work(self); }};
};

} // namespace bench
