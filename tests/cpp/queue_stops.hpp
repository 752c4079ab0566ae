#pragma once

// A queue operation that stops before chosen ones of its atomic steps, and what happens meanwhile.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "loomy/sync/queue_block.hpp"

namespace queue_test {

using loomy::queue_step;

inline constexpr std::size_t step_count = static_cast<std::size_t>(queue_step::count_);

// The steps at which some operation was stopped, of this thread's tests.
struct stop_tally {
    std::array<std::size_t, step_count> stopped{};
    std::size_t total = 0;
};

// Numbers the steps of one operation as it runs and calls the actions that wait for them. A step that repeats
// (a wait, a walk over cells or guards) is numbered twice at most.
class stop_plan {
  public:
    using action = std::function<void()>;

    stop_plan(stop_tally& tally, std::size_t at, action what) : tally_(tally) { add(at, std::move(what)); }
    void add(std::size_t at, action what) { stops_.push_back({at, std::move(what), false}); }

    [[nodiscard]] bool all_reached() const {
        return std::all_of(stops_.begin(), stops_.end(), [](const stop& one) { return one.reached; });
    }

    // Runs `operation` on this thread under the plan.
    template <class Operation>
    void run(Operation&& operation) {
        stop_plan* outer = current;
        current = this;
        operation();
        current = outer;
    }

    void reach(queue_step step) {
        // No operation of these tests comes near; a thread that goes round for ever does.
        if (++raw_steps_ > 20'000) {
            std::fprintf(stderr, "no progress, at step %u\n", static_cast<unsigned>(step));
            std::abort();
        }
        repeated_ = step == last_ ? repeated_ + 1 : 0;
        last_ = step;
        if (repeated_ > 1) return;
        const std::size_t number = numbered_++;
        for (std::size_t i = 0; i < stops_.size(); ++i) {
            if (stops_[i].at != number) continue;
            stops_[i].reached = true;
            ++tally_.stopped[static_cast<std::size_t>(step)];
            ++tally_.total;
            stop_plan* self = current;
            current = nullptr; // the others are not this operation
            stops_[i].what();
            current = self;
        }
    }

    inline static thread_local stop_plan* current = nullptr;

  private:
    struct stop {
        std::size_t at;
        action what;
        bool reached;
    };

    stop_tally& tally_;
    std::vector<stop> stops_;
    std::size_t numbered_ = 0;
    std::size_t raw_steps_ = 0;
    std::size_t repeated_ = 0;
    queue_step last_ = queue_step::count_;
};

// The queue's injection hook.
struct stopping {
    static void at(queue_step step) {
        if (stop_plan::current != nullptr) stop_plan::current->reach(step);
    }
};

} // namespace queue_test
