#pragma once

#include <atomic>

namespace loomy {

// The hook of production code: every announcement compiles to nothing.
struct no_step {
    template <class Point>
    static constexpr void at(Point) noexcept {}
};

// A std::atomic that has to name each access, and announces it to `Step` just before it happens. A structure
// built on it alone has no atomic step that a test cannot stop at: `Step::at` may block (freeze the thread
// there), delay, or run other operations in between.
template <class T, class Step, class Point>
class stepped_atomic {
  public:
    constexpr stepped_atomic() noexcept = default;
    constexpr explicit stepped_atomic(T value) noexcept : value_(value) {}
    stepped_atomic(const stepped_atomic&) = delete;
    stepped_atomic& operator=(const stepped_atomic&) = delete;

    [[nodiscard]] T load(Point point, std::memory_order order) const noexcept {
        Step::at(point);
        return value_.load(order);
    }
    void store(Point point, T value, std::memory_order order) noexcept {
        Step::at(point);
        value_.store(value, order);
    }
    T exchange(Point point, T value, std::memory_order order) noexcept {
        Step::at(point);
        return value_.exchange(value, order);
    }
    T fetch_add(Point point, T value, std::memory_order order) noexcept {
        Step::at(point);
        return value_.fetch_add(value, order);
    }
    T fetch_sub(Point point, T value, std::memory_order order) noexcept {
        Step::at(point);
        return value_.fetch_sub(value, order);
    }
    [[nodiscard]] bool compare_exchange(Point point, T& expected, T desired, std::memory_order success,
                                        std::memory_order failure) noexcept {
        Step::at(point);
        return value_.compare_exchange_strong(expected, desired, success, failure);
    }

    // Accesses of a thread that has the object to itself: nobody can be between it and the next step.
    [[nodiscard]] T peek_exclusive() const noexcept { return value_.load(std::memory_order_relaxed); }
    void set_exclusive(T value) noexcept { value_.store(value, std::memory_order_relaxed); }

  private:
    std::atomic<T> value_{};
};

} // namespace loomy
