#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "latency_histogram.hpp"
#include "loomy/base/clock.hpp"
#include "measure.hpp"
#include "queue_transfer.hpp"

namespace bench {

// An item goes to another thread through one queue and comes back through a second; both threads poll. ns are
// per round trip, two hand-offs of cache lines.
template <class Queue>
class queue_ping_pong final : public counted_contender {
  public:
    queue_ping_pong() : counted_contender(1u << 20) {}
    void prepare(std::uint64_t operations) override {
        left_ = operations;
        partner_.line_up();
    }
    void run(std::uint64_t operations) override {
        partner_.release();
        item* const ball = &items()[0];
        returned_ = 0;
        std::int64_t began = loomy::now_ns();
        for (std::uint64_t i = 0; i < operations; ++i) {
            send(out_, ball);
            returned_ += receive(in_)->value;
            const std::int64_t now = loomy::now_ns();
            round_trips_.add(now - began);
            began = now;
        }
    }
    void finish(std::uint64_t operations, sample& taken) override {
        partner_.await();
        taken.p50 = round_trips_.quantile(0.5);
        taken.p99 = round_trips_.quantile(0.99);
        taken.check(returned_ == operations * items()[0].value, "not every item came back");
    }

  private:
    using user = typename Queue::user;

    static void send(user& to, item* ball) {
        for (patience idle; !to.try_push(ball);) idle.wait();
    }
    static item* receive(user& from) {
        for (patience idle;;) {
            if (item* const got = from.try_pop()) return got;
            idle.wait();
        }
    }
    void reflect() {
        user in(there_);
        user out(back_);
        for (std::uint64_t i = 0; i < left_; ++i) send(out, receive(in));
    }

    Queue there_, back_;
    user out_{there_}, in_{back_};
    std::uint64_t left_ = 0, returned_ = 0;
    latency_histogram round_trips_;
    team partner_{1, [this](unsigned) { reflect(); }};
};

} // namespace bench
