#pragma once

#include <Python.h>

#include <atomic>

#include "map_window.hpp"
#include "pool_object.hpp"

// What the ways to iterate over a map share: pulling payloads, submitting them, and the end.
namespace loomy::py {

struct map_state {
    map_state(python_pool& home_, PyObject* source_, bool ordered, const call_limits& limits_)
        : home(ref<python_pool>::share(&home_)),
          source(source_),
          limits(limits_),
          window(ordered),
          context(Py_XNewRef(limits_.context)) {}
    ~map_state() {
        window.abandon(map_window::cancels::queued);
        Py_XDECREF(source);
        Py_XDECREF(held_back);
        Py_XDECREF(source_error);
        Py_XDECREF(context);
    }

    ref<python_pool> home;
    PyObject* source;                 // the payloads' iterator; null when it has ended
    PyObject* held_back = nullptr;    // a payload the queue had no place for yet
    PyObject* source_error = nullptr; // what the iterator raised; raised in turn, after the results before it
    call_limits limits;
    map_window window;
    PyObject* context; // keeps what `limits` borrows
    std::size_t width = 0;
    std::int64_t waiting_since_ns = 0; // or 0
    bool fixed_width = false;
    // Pulling, which runs Python, or waiting: another call meanwhile is refused. Atomic for ThreadSanitizer.
    std::atomic<bool> busy{false};
};

struct map_iterator {
    PyObject_HEAD PyObject* weak_references;
    map_state* state; // null when closed
};

[[nodiscard]] inline map_iterator* as_map(PyObject* self) noexcept {
    return reinterpret_cast<map_iterator*>(self);
}

void close_map(map_iterator* self, map_window::cancels what = map_window::cancels::queued);

// What a full queue means when there is nothing to wait for yet: what the pool's on_full says; or, where an
// event loop runs that must not be held up, to come back when there is a place.
enum class when_stuck : std::uint8_t { as_pool_says, come_back };

// Pulls ahead. What that left: 1 something outstanding, 0 the end (an error may be set), 2 a payload that
// found no place.
[[nodiscard]] int outstanding(map_iterator* self, when_stuck stuck);

// From the moment that the next result is not there to the moment that it is: how far to pull ahead.
void wait_begins(map_state& map) noexcept;
void wait_ends(map_state& map) noexcept;

// async for (map_async.cpp).

// An ended job's AsyncResult; or a list of the jobs to wait for one of; or a Context to wait for a place in
// the queue with; or None at the end.
[[nodiscard]] PyObject* map_poll(PyObject* self);
// The next result's await, when the result is there or comes soon; else a coroutine that waits for it.
[[nodiscard]] PyObject* map_anext(PyObject* self);
// Blocks until there may be a place, or the context ends. On a thread of its own: the map may be closed
// meanwhile.
[[nodiscard]] PyObject* map_wait_for_place(PyObject* self, PyObject* context);

} // namespace loomy::py
