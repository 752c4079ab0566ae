#pragma once

// Stands before the file of this name on the path of the models: the queue's own source, on Relacy's atomics.
// The point of an access tells which it is, so that its memory order can be made too weak on purpose.

#include <atomic>
#include <cstdint>

#include "relacy_alone.hpp"

namespace loomy {

struct no_step {
    template <class Point>
    static constexpr void at(Point) noexcept {}
};

inline int planted_point = -1; // the access that is relaxed whatever the code says

template <class T, class Step, class Point>
class stepped_atomic {
  public:
    stepped_atomic() : value_(new rl::generic_atomic<T, true>) {}
    stepped_atomic(const stepped_atomic&) = delete;
    stepped_atomic& operator=(const stepped_atomic&) = delete;
    ~stepped_atomic() { delete value_; }

    [[nodiscard]] T load(Point point, std::memory_order order) const {
        return value_->load(order_at(point, order), RL_INFO);
    }
    void store(Point point, T value, std::memory_order order) {
        value_->store(value, order_at(point, order), RL_INFO);
    }
    T exchange(Point point, T value, std::memory_order order) {
        return value_->exchange(value, order_at(point, order), RL_INFO);
    }
    T fetch_add(Point point, T value, std::memory_order order) {
        return value_->fetch_add(value, order_at(point, order), RL_INFO);
    }
    T fetch_sub(Point point, T value, std::memory_order order) {
        return value_->fetch_sub(value, order_at(point, order), RL_INFO);
    }
    [[nodiscard]] bool compare_exchange(Point point, T& expected, T desired, std::memory_order success,
                                        std::memory_order failure) {
        return value_->compare_exchange_strong(expected, desired, order_at(point, success), RL_INFO,
                                               order_at(point, failure), RL_INFO);
    }

    [[nodiscard]] T peek_exclusive() const { return value_->debug_value(); }
    void set_exclusive(T value) { value_->store(value, rl::mo_relaxed, RL_INFO); }

  private:
    [[nodiscard]] static rl::memory_order order_at(Point point, std::memory_order order) {
        if (static_cast<int>(point) == planted_point) return rl::mo_relaxed;
        switch (order) {
            case std::memory_order_relaxed:
                return rl::mo_relaxed;
            case std::memory_order_consume:
                return rl::mo_consume;
            case std::memory_order_acquire:
                return rl::mo_acquire;
            case std::memory_order_release:
                return rl::mo_release;
            case std::memory_order_acq_rel:
                return rl::mo_acq_rel;
            case std::memory_order_seq_cst:
                break;
        }
        return rl::mo_seq_cst;
    }

    rl::generic_atomic<T, true>* value_; // not in place: its size would be another
};

} // namespace loomy
