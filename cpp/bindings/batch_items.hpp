#pragma once

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "gil.hpp"

namespace loomy::py {

// The items of a batch, each in one place of one list: first its payload, nothing while it runs, then its
// result, told from a payload by its lowest bit. The list is a copy that nobody else has, so that what
// happens to the caller's iterable meanwhile does not matter, and in the end it is the list of results. Used
// attached; an index by one thread at a time, but for close_place().
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
    // The payload, whose reference is the caller's from now on. Each index once. Null: its place was closed.
    [[nodiscard]] PyObject* take(std::uint64_t index) noexcept {
        PyObject* const payload = load(index);
        return !is_result(payload) && replace(index, payload, nullptr) ? payload : nullptr;
    }
    // Steals. False: the place of the item was closed while it ran, and the result is still the caller's.
    [[nodiscard]] bool put(std::uint64_t index, PyObject* result) noexcept {
        return replace(index, nullptr, marked(result));
    }
    // The result of an item that has one.
    [[nodiscard]] PyObject* take_result(std::uint64_t index) noexcept {
        return plain(std::exchange(place(index), nullptr));
    }

    struct left {
        PyObject* payload; // of an item that has not started and never will
        PyObject* result;  // null, both: it is running, or has failed
    };
    // Any thread, once: take() and put() do nothing from now on. What was there is the caller's.
    [[nodiscard]] left close_place(std::uint64_t index) noexcept;
    // What is in the places, once nobody changes them.
    int traverse(visitproc visit, void* arg) const;
    // The whole list, when all items have ended: None where there is no result.
    [[nodiscard]] PyObject* release();

  private:
    // A result has its lowest bit set; a closed place looks like one, of nothing.
    [[nodiscard]] static bool is_result(PyObject* there) noexcept {
        return (reinterpret_cast<std::uintptr_t>(there) & 1) != 0;
    }
    [[nodiscard]] static PyObject* marked(PyObject* result) noexcept {
        return reinterpret_cast<PyObject*>(reinterpret_cast<std::uintptr_t>(result) | 1);
    }
    [[nodiscard]] static PyObject* plain(PyObject* there) noexcept {
        return reinterpret_cast<PyObject*>(reinterpret_cast<std::uintptr_t>(there) & ~std::uintptr_t{1});
    }

    [[nodiscard]] PyObject*& place(std::uint64_t index) noexcept {
        return reinterpret_cast<PyListObject*>(list_)->ob_item[index];
    }
    [[nodiscard]] PyObject* load(std::uint64_t index) noexcept {
        if constexpr (gil::is_free_threaded)
            return std::atomic_ref<PyObject*>(place(index)).load(std::memory_order_relaxed);
        return place(index);
    }
    // Only if it still is what it was. acq_rel: who closes a place sees the object he finds there.
    [[nodiscard]] bool replace(std::uint64_t index, PyObject* from, PyObject* to) noexcept {
        if constexpr (gil::is_free_threaded) {
            return std::atomic_ref<PyObject*>(place(index))
                .compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_relaxed);
        }
        if (place(index) != from) return false;
        place(index) = to;
        return true;
    }

    [[nodiscard]] bool copy(PyObject* list);
    void make_whole() noexcept;

    // Not tracked by the collector, which is how others could come to see its holes.
    PyObject* list_ = nullptr;
};

} // namespace loomy::py
