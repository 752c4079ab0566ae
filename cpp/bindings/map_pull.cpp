#include <algorithm>

#include "errors.hpp"
#include "invoke.hpp"
#include "loomy/base/clock.hpp"
#include "map_state.hpp"

namespace loomy::py {
namespace {

// How far a map without an explicit buffer pulls ahead: far enough to keep the workers busy; further only
// while jobs are so short that handing them over is what takes the time.
constexpr std::size_t widest_window = 256;
constexpr std::int64_t short_wait_ns = 100'000;

// Pulls and submits one payload. 1: submitted, 0: nothing more to submit now, -1: error set.
int pull_one(map_state& map, when_stuck stuck) {
    PyObject* payload = std::exchange(map.held_back, nullptr);
    if (payload == nullptr) {
        if (map.source == nullptr) return 0;
        payload = PyIter_Next(map.source);
        if (payload == nullptr) {
            if (PyErr_Occurred() != nullptr) {
                if (is_interrupt_of_this_thread()) return -1;
                map.source_error = errors::take_raised();
            }
            Py_CLEAR(map.source);
            return 0;
        }
    }
    // With something to wait for already, a full queue only means: not so far ahead.
    const bool full_is_none =
        map.window.size() != 0 || (stuck == when_stuck::come_back && map.home->on_full != when_full::raise);
    PyObject* const made = submit_one(*map.home, payload, map.limits, full_is_none);
    if (made == Py_None) {
        Py_DECREF(made);
        map.held_back = payload;
        return 0;
    }
    if (made == nullptr) {
        Py_DECREF(payload);
        // A payload that is no job (not callable) is the error of its turn; the rest of the input is not
        // pulled.
        map.source_error = errors::take_raised();
        Py_CLEAR(map.source);
        return 0;
    }
    Py_DECREF(payload);
    map.window.add(reinterpret_cast<async_result*>(made));
    return 1;
}

// Pulls ahead: up to the width while there is nothing to hand out; else just enough to keep workers busy
// while the consumer is.
int pull_ahead(map_state& map, when_stuck stuck) {
    map.busy.store(true, std::memory_order_relaxed);
    int pulled = 1;
    for (int i = 0; pulled > 0 && map.window.size() < map.width; ++i) {
        if (map.window.has_finished() && (i >= 2 || map.window.size() > map.width / 2)) break;
        pulled = pull_one(map, stuck);
    }
    map.busy.store(false, std::memory_order_relaxed);
    return pulled < 0 ? -1 : 0;
}

} // namespace

void close_map(map_iterator* self, map_window::cancels what) {
    map_state* const state = std::exchange(self->state, nullptr);
    if (state != nullptr) state->window.abandon(what);
    delete state;
}

// What pulling left: 1 something outstanding, 0 the end (an error may be set), 2 a payload that found no
// place.
int outstanding(map_iterator* self, when_stuck stuck) {
    map_state& map = *self->state;
    if (map.busy.load(std::memory_order_relaxed)) {
        PyErr_SetString(PyExc_ValueError,
                        "the map is being advanced already, by its own payloads or by another thread");
        return 0;
    }
    if (pull_ahead(map, stuck) < 0) {
        PyObject* const raised = errors::take_raised();
        close_map(self);
        errors::put_back(raised);
        return 0;
    }
    if (self->state == nullptr) return 0; // closed by the payloads' own iterator
    if (map.window.size() != 0) return 1;
    if (map.held_back != nullptr) return 2;
    PyObject* const error = std::exchange(map.source_error, nullptr);
    close_map(self);
    if (error != nullptr) {
        errors::put_back(error);
    }
    return 0;
}

void wait_begins(map_state& map) noexcept {
    if (!map.fixed_width && map.waiting_since_ns == 0) map.waiting_since_ns = now_ns();
}
void wait_ends(map_state& map) noexcept {
    if (map.waiting_since_ns == 0) return;
    if (now_ns() - std::exchange(map.waiting_since_ns, 0) < short_wait_ns) {
        map.width = std::min(map.width * 2, std::max(widest_window, map.width));
    } else {
        const std::size_t least = 2 * std::size_t{map.home->core->size()} + 2;
        map.width = std::max(map.width / 2, least);
    }
}

} // namespace loomy::py
