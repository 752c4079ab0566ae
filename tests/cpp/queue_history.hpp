#pragma once

// Histories of queue operations, and the question whether a sequential FIFO queue can explain them.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

namespace queue_test {

struct numbered {
    alignas(8) int value = 0;
};

// The items of every history: the queue only sees their addresses.
inline numbered* item_of(int value) {
    static std::array<numbered, 4096> items = [] {
        std::array<numbered, 4096> made{};
        for (std::size_t i = 0; i < made.size(); ++i) made[i].value = static_cast<int>(i);
        return made;
    }();
    return &items.at(static_cast<std::size_t>(value));
}

struct operation {
    enum kind_t { push, pop, was_empty } kind;
    int value; // pushed or popped (nothing: none); was_empty: 0 or 1
    std::uint64_t called;
    std::uint64_t returned;

    static constexpr int none = -1;
};

// What each thread did, in its order. Each list is written by one thread at a time.
struct history {
    explicit history(std::size_t threads) : by_thread(threads) {}

    std::uint64_t now() { return clock.fetch_add(1, std::memory_order_seq_cst); }

    std::atomic<std::uint64_t> clock{0};
    std::vector<std::vector<operation>> by_thread;
};

// One thread's view of a queue: does operations and writes them down.
template <class Queue>
class recorder {
  public:
    recorder(Queue& queue, history& log, std::size_t thread)
        : queue_(queue), log_(log), mine_(log.by_thread[thread]) {}

    void push(int value) {
        const std::uint64_t called = log_.now();
        queue_.push(item_of(value));
        mine_.push_back({operation::push, value, called, log_.now()});
    }
    // Specified as pushes in this order, not as one step.
    void push_many(int first, int count) {
        std::vector<numbered*> items;
        for (int i = 0; i < count; ++i) items.push_back(item_of(first + i));
        const std::uint64_t called = log_.now();
        queue_.push_many(items.data(), items.size());
        const std::uint64_t returned = log_.now();
        for (int i = 0; i < count; ++i) mine_.push_back({operation::push, first + i, called, returned});
    }
    int pop() {
        const std::uint64_t called = log_.now();
        const numbered* item = queue_.try_pop();
        const int value = item == nullptr ? operation::none : item->value;
        mine_.push_back({operation::pop, value, called, log_.now()});
        return value;
    }
    bool was_empty() {
        const std::uint64_t called = log_.now();
        const bool answer = queue_.was_empty();
        mine_.push_back({operation::was_empty, answer ? 1 : 0, called, log_.now()});
        return answer;
    }

  private:
    Queue& queue_;
    history& log_;
    std::vector<operation>& mine_;
};

// Wing and Gong's search: take any operation that no other remaining one precedes in time, if the model
// allows its result, and go on from there. A state (how far each thread is, and what is in the queue) from
// which the search has failed is not entered again. Values are distinct, which allows to cut early: if the
// pop of `a` was over before that of `b` began, then `b` cannot be pushed before `a`.
class linearization {
  public:
    enum verdict { exists, does_not_exist, undecided }; // the last: more states than it is worth

    [[nodiscard]] static verdict of(const history& log) {
        linearization search(log);
        if (!search.each_popped_once_) return does_not_exist;
        if (search.from_here()) return exists;
        return search.visited_.size() < most_states ? does_not_exist : undecided;
    }

  private:
    static constexpr std::size_t most_states = 100'000;
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    struct pop_interval {
        std::uint64_t called = never;
        std::uint64_t returned = never;
        bool pushed = false; // so far in the search
    };

    explicit linearization(const history& log) : log_(log), next_(log.by_thread.size(), 0) {
        for (const auto& thread : log.by_thread) {
            for (const operation& one : thread) {
                if (one.kind == operation::push) pops_[one.value];
            }
        }
        for (const auto& thread : log.by_thread) {
            for (const operation& one : thread) {
                if (one.kind != operation::pop || one.value == operation::none) continue;
                const auto found = pops_.find(one.value);
                if (found == pops_.end() || found->second.called != never) {
                    each_popped_once_ = false;
                    continue;
                }
                found->second.called = one.called;
                found->second.returned = one.returned;
            }
        }
    }

    [[nodiscard]] bool may_be_pushed(int value) const {
        const std::uint64_t called = pops_.at(value).called;
        for (const auto& [other, pop] : pops_) {
            if (!pop.pushed && other != value && pop.returned < called) return false;
        }
        return true;
    }

    [[nodiscard]] bool from_here() {
        std::uint64_t first_return = never;
        for (std::size_t t = 0; t < next_.size(); ++t) {
            if (has_next(t) && next(t).returned < first_return) first_return = next(t).returned;
        }
        if (first_return == never) return true;
        if (visited_.size() >= most_states || !visited_.insert(key()).second) return false;
        for (std::size_t t = 0; t < next_.size(); ++t) {
            if (!has_next(t) || next(t).called > first_return) continue;
            const operation& step = next(t);
            if (!apply(step)) continue;
            ++next_[t];
            if (from_here()) return true;
            --next_[t];
            undo(step);
        }
        return false;
    }

    [[nodiscard]] bool apply(const operation& step) {
        const bool empty = popped_ == pushed_.size();
        switch (step.kind) {
            case operation::push:
                if (!may_be_pushed(step.value)) return false;
                pushed_.push_back(step.value);
                pops_.at(step.value).pushed = true;
                return true;
            case operation::pop:
                if (step.value == operation::none) return empty;
                if (empty || pushed_[popped_] != step.value) return false;
                ++popped_;
                return true;
            case operation::was_empty:
                return empty == (step.value == 1);
        }
        return false;
    }
    void undo(const operation& step) {
        if (step.kind == operation::push) {
            pushed_.pop_back();
            pops_.at(step.value).pushed = false;
        }
        if (step.kind == operation::pop && step.value != operation::none) --popped_;
    }

    [[nodiscard]] bool has_next(std::size_t thread) const {
        return next_[thread] < log_.by_thread[thread].size();
    }
    [[nodiscard]] const operation& next(std::size_t thread) const {
        return log_.by_thread[thread][next_[thread]];
    }
    [[nodiscard]] std::string key() const {
        std::string text;
        const auto add = [&text](std::size_t number) {
            text.push_back(static_cast<char>(number & 0xff));
            text.push_back(static_cast<char>(number >> 8 & 0xff));
        };
        for (std::size_t position : next_) add(position);
        for (std::size_t i = popped_; i < pushed_.size(); ++i) add(static_cast<std::size_t>(pushed_[i]));
        return text;
    }

    const history& log_;
    std::vector<std::size_t> next_;
    std::vector<int> pushed_;
    std::size_t popped_ = 0;
    std::unordered_set<std::string> visited_;
    std::map<int, pop_interval> pops_;
    bool each_popped_once_ = true;
};

// For the message of a failed check.
[[nodiscard]] inline std::string to_string(const history& log) {
    std::string text;
    for (std::size_t t = 0; t < log.by_thread.size(); ++t) {
        text += "thread " + std::to_string(t) + ":";
        for (const operation& one : log.by_thread[t]) {
            static constexpr const char* names[] = {"push", "pop", "was_empty"};
            text += std::string(" ") + names[one.kind] + "(" + std::to_string(one.value) + ")@" +
                    std::to_string(one.called) + "-" + std::to_string(one.returned);
        }
        text += "\n";
    }
    return text;
}

} // namespace queue_test
