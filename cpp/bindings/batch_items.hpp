#pragma once

#include <Python.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace loomy::py {

// The payloads of a batch: a copy that nobody else has, so that what happens to the caller's iterable
// meanwhile does not matter, and each payload can be let go of when it has run. Used attached.
class batch_items {
  public:
    batch_items() = default;
    batch_items(batch_items&& other) noexcept : items_(std::move(other.items_)) { other.items_.clear(); }
    batch_items& operator=(batch_items&&) = delete;
    ~batch_items();

    // Takes all of an iterable, letting other threads have their turn now and then. False with an error set.
    [[nodiscard]] bool fill(PyObject* iterable);

    [[nodiscard]] std::uint64_t size() const noexcept { return items_.size(); }
    // The reference is the caller's from now on. Each index once.
    [[nodiscard]] PyObject* take(std::uint64_t index) noexcept {
        return std::exchange(items_[index], nullptr);
    }

  private:
    std::vector<PyObject*> items_;
};

} // namespace loomy::py
