#include <new>

#include "await_inside_job.hpp"
#include "awaiter.hpp"
#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "map_state.hpp"
#include "python_module.hpp"
#include "wait_watch.hpp"

namespace loomy::py {
namespace {

constexpr std::int64_t look_again_ns = 50'000'000;

// For a wait for a place in the queue. Its end may be that of the map's limits, which the next try then
// meets.
PyObject* context_of_wait(const map_state& map) {
    deadline until = map.limits.until;
    // Inside a job of the pool it may come to depend on this thread meanwhile.
    if (frame::of(*map.home->core) != nullptr) until = earlier(until, deadline::after(look_again_ns));
    try {
        return context_from_token(cancel_token::make(until, map.limits.token.get()), nullptr);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

// A place for the payload that is held back. 1: try again; 0: it is to be waited for; -1 with an error set.
int make_place(map_state& map) {
    if (frame::of(*map.home->core) == nullptr) return 0;
    event_loop* const loop = running_event_loop();
    if (loop == nullptr) return PyErr_Occurred() != nullptr ? -1 : 0;
    map.busy.store(true, std::memory_order_relaxed);
    const int made = make_place_inside_job(*map.home->core, *loop);
    map.busy.store(false, std::memory_order_relaxed);
    Py_DECREF(reinterpret_cast<PyObject*>(loop));
    return made;
}

// The error that is set stays, but for a StopAsyncIteration: the payloads' own is not the end of the results.
PyObject* raised_by_payloads() {
    errors::wrap_stop_async_iteration("the payloads raised StopAsyncIteration; see __cause__");
    return nullptr;
}

PyObject* fail_with(PyObject* self, PyObject* result) {
    PyObject* const fail = borrowed_class("loomy._asyncio_bridge", "fail");
    return fail != nullptr ? PyObject_CallFunctionObjArgs(fail, self, result, nullptr) : nullptr;
}

} // namespace

PyObject* map_poll(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    int left = 0;
    while (iterator->state != nullptr && (left = outstanding(iterator, when_stuck::come_back)) == 2) {
        const int made = make_place(*iterator->state);
        if (made <= 0) return made < 0 ? nullptr : context_of_wait(*iterator->state);
    }
    if (PyErr_Occurred() != nullptr) return raised_by_payloads();
    if (iterator->state == nullptr || left == 0) Py_RETURN_NONE;
    map_state& map = *iterator->state;
    async_result* const next = map.window.take();
    if (next == nullptr) return map.window.awaited();
    wait_ends(map);
    return reinterpret_cast<PyObject*>(next);
}

PyObject* map_wait_for_place(PyObject* self, PyObject* context) {
    const ref<python_pool> home = gil::exclusively(self, [self] {
        return as_map(self)->state != nullptr ? as_map(self)->state->home : ref<python_pool>();
    });
    call_limits limits;
    if (!limits.parse(nullptr, context)) return nullptr;
    if (!home) Py_RETURN_NONE;
    wait_watch watch(limits, *home->core, &pool::announce_places);
    const int woken = gil::wait_detached(
        limits.until, [&](deadline slice) { return home->core->wait_for_place(slice, watch.flag()); });
    watch.close();
    if (woken < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* map_anext(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    if (iterator->state != nullptr && outstanding(iterator, when_stuck::come_back) == 1) {
        map_state& map = *iterator->state;
        if (!map.window.has_finished()) wait_begins(map);
        map.busy.store(true, std::memory_order_relaxed);
        async_result* const next = map.window.take_soon();
        map.busy.store(false, std::memory_order_relaxed);
        if (next != nullptr) {
            wait_ends(map);
            PyObject* const result = reinterpret_cast<PyObject*>(next);
            PyObject* const awaited =
                next->job.has_result() ? await_result(next, self) : fail_with(self, result);
            Py_DECREF(result);
            return awaited;
        }
    }
    if (PyErr_Occurred() != nullptr) return raised_by_payloads();
    PyObject* const bridge = borrowed_class("loomy._asyncio_bridge", "next_result");
    return bridge != nullptr ? PyObject_CallOneArg(bridge, self) : nullptr;
}

} // namespace loomy::py
