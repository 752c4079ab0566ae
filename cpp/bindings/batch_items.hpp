#pragma once

#include <Python.h>

#include <cstdint>
#include <utility>

namespace loomy::py {

// The items of a batch, each in one place of one list: first its payload, nothing while it runs, then its
// result. The list is a copy that nobody else has, so that what happens to the caller's iterable meanwhile
// does not matter, and in the end it is the list of results. Used attached; an index by one thread at a time.
class batch_items {
  public:
    batch_items() = default;
    batch_items(batch_items&& other) noexcept : list_(std::exchange(other.list_, nullptr)) {}
    batch_items& operator=(batch_items&&) = delete;
    ~batch_items();

    // Takes all of an iterable, letting other threads have their turn now and then. False with an error set.
    [[nodiscard]] bool fill(PyObject* iterable);

    [[nodiscard]] std::uint64_t size() const noexcept {
        return static_cast<std::uint64_t>(PyList_GET_SIZE(list_));
    }
    // The payload, whose reference is the caller's from now on. Each index once.
    [[nodiscard]] PyObject* take(std::uint64_t index) noexcept {
        return std::exchange(place(index), nullptr);
    }
    // Steals.
    void put(std::uint64_t index, PyObject* result) noexcept { place(index) = result; }
    [[nodiscard]] bool is_empty(std::uint64_t index) noexcept { return place(index) == nullptr; }
    // The whole list, every place of which has been filled.
    [[nodiscard]] PyObject* release();

  private:
    [[nodiscard]] bool copy(PyObject* list);
    [[nodiscard]] PyObject*& place(std::uint64_t index) noexcept {
        return reinterpret_cast<PyListObject*>(list_)->ob_item[index];
    }

    // Not tracked by the collector, which is how others could come to see its holes.
    PyObject* list_ = nullptr;
};

} // namespace loomy::py
