#include "map_iterator.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "awaiter.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "invoke.hpp"
#include "loomy/base/clock.hpp"
#include "map_window.hpp"
#include "pool_object.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// How far a map without an explicit buffer pulls ahead: far enough to keep the workers busy; further only
// while jobs are so short that handing them over is what takes the time.
constexpr std::size_t widest_window = 256;
constexpr std::int64_t short_wait_ns = 100'000;

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

map_iterator* as_map(PyObject* self) noexcept {
    return reinterpret_cast<map_iterator*>(self);
}

// Pulls and submits one payload. 1: submitted, 0: nothing more to submit now, -1: error set.
int pull_one(map_state& map) {
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
    PyObject* const made = submit_one(*map.home, payload, map.limits, map.window.size() != 0);
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
int pull_ahead(map_state& map) {
    map.busy.store(true, std::memory_order_relaxed);
    int pulled = 1;
    for (int i = 0; pulled > 0 && map.window.size() < map.width; ++i) {
        if (map.window.has_finished() && (i >= 2 || map.window.size() > map.width / 2)) break;
        pulled = pull_one(map);
    }
    map.busy.store(false, std::memory_order_relaxed);
    return pulled < 0 ? -1 : 0;
}

void close_map(map_iterator* self, map_window::cancels what = map_window::cancels::queued) {
    map_state* const state = std::exchange(self->state, nullptr);
    if (state != nullptr) state->window.abandon(what);
    delete state;
}

// What pulling left: 1 something outstanding, 0 the end (an error may be set).
int outstanding(map_iterator* self) {
    map_state& map = *self->state;
    if (map.busy.load(std::memory_order_relaxed)) {
        PyErr_SetString(PyExc_ValueError,
                        "the map is being advanced already, by its own payloads or by another thread");
        return 0;
    }
    if (pull_ahead(map) < 0) {
        PyObject* const raised = errors::take_raised();
        close_map(self);
        errors::put_back(raised);
        return 0;
    }
    if (self->state == nullptr) return 0; // closed by the payloads' own iterator
    if (map.window.size() != 0) return 1;
    PyObject* const error = std::exchange(map.source_error, nullptr);
    close_map(self);
    if (error != nullptr) {
        errors::put_back(error);
    }
    return 0;
}

// From the moment that the next result is not there to the moment that it is: how far to pull ahead.
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

PyObject* map_next(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    if (iterator->state == nullptr || outstanding(iterator) == 0) return nullptr;
    map_state& map = *iterator->state;
    if (!map.window.has_finished()) {
        wait_begins(map);
        map.busy.store(true, std::memory_order_relaxed);
        int woken = 1;
        do {
            woken = map.window.wait();
        } while (woken > 0 && !map.window.has_finished());
        map.busy.store(false, std::memory_order_relaxed);
        if (woken < 0) {
            PyObject* const raised = errors::take_raised();
            close_map(iterator);
            errors::put_back(raised);
            return nullptr;
        }
        wait_ends(map);
    }
    async_result* const next = map.window.take();
    PyObject* const answer = answer_outside_iteration(next->job);
    Py_DECREF(reinterpret_cast<PyObject*>(next));
    if (answer == nullptr) {
        PyObject* const raised = errors::take_raised();
        close_map(iterator);
        errors::put_back(raised);
    }
    return answer;
}

// For async for: an ended job's AsyncResult; or a list of the jobs to wait for one of; or None at the end.
PyObject* map_poll(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    if (iterator->state == nullptr) Py_RETURN_NONE;
    if (outstanding(iterator) == 0) {
        if (PyErr_Occurred() != nullptr) return nullptr;
        Py_RETURN_NONE;
    }
    map_state& map = *iterator->state;
    async_result* const next = map.window.take();
    if (next == nullptr) return map.window.awaited();
    wait_ends(map);
    return reinterpret_cast<PyObject*>(next);
}

PyObject* fail_with(PyObject* self, PyObject* result) {
    PyObject* const fail = borrowed_class("loomy._asyncio_bridge", "fail");
    return fail != nullptr ? PyObject_CallFunctionObjArgs(fail, self, result, nullptr) : nullptr;
}

// The next result's await, when the result is there or comes soon; else a coroutine that waits for it.
PyObject* map_anext(PyObject* self) {
    map_iterator* const iterator = as_map(self);
    if (iterator->state != nullptr && outstanding(iterator) != 0) {
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
    if (PyErr_Occurred() != nullptr) return nullptr;
    PyObject* const bridge = borrowed_class("loomy._asyncio_bridge", "next_result");
    return bridge != nullptr ? PyObject_CallOneArg(bridge, self) : nullptr;
}

PyObject* map_self(PyObject* self) {
    return Py_NewRef(self);
}
PyObject* map_enter(PyObject* self, PyObject*) {
    return Py_NewRef(self);
}

template <map_window::cancels what>
PyObject* map_close(PyObject* self) {
    if (as_map(self)->state != nullptr && as_map(self)->state->busy.load(std::memory_order_relaxed)) {
        PyErr_SetString(PyExc_ValueError,
                        "the map is being advanced and cannot be closed by its own payloads");
        return nullptr;
    }
    close_map(as_map(self), what);
    Py_RETURN_NONE;
}

int map_traverse(PyObject* self, visitproc visit, void* arg) {
    const map_state* const state = as_map(self)->state;
    if (state == nullptr) return 0;
    Py_VISIT(state->source);
    Py_VISIT(state->held_back);
    Py_VISIT(state->source_error);
    Py_VISIT(state->context);
    return state->window.traverse(visit, arg);
}

int map_clear(PyObject* self) {
    close_map(as_map(self));
    return 0;
}

void map_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if (as_map(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
    PyObject* const saved = errors::take_raised();
    close_map(as_map(self));
    errors::put_back(saved);
    PyObject_GC_Del(self);
}

PyObject* map_represent(PyObject* self) {
    const map_state* const state = as_map(self)->state;
    if (state == nullptr) return PyUnicode_FromString("<loomy.MapIterator: ended>");
    return PyUnicode_FromFormat("<loomy.MapIterator of pool '%U': %zu ahead>", state->home->name,
                                state->window.size());
}

// As Python calls them: any thread may, but what is above runs on one at a time.
template <PyObject* (*call)(PyObject*)>
PyObject* one_at_a_time(PyObject* self) {
    return gil::exclusively(self, [self] { return call(self); });
}
template <PyObject* (*call)(PyObject*)>
PyObject* one_at_a_time(PyObject* self, PyObject*) {
    return one_at_a_time<call>(self);
}

PyMethodDef methods[] = {
    {"close", one_at_a_time<map_close<map_window::cancels::queued>>, METH_NOARGS,
     PyDoc_STR("close($self)\n--\n\nEnd the iteration: jobs that have not started are cancelled, those that "
               "run go on.\n\nWhen the task of an async for is cancelled while it waits for a result, the "
               "iteration is ended as well, and the contexts\nof the jobs that run are cancelled.")},
    {"_cancel", one_at_a_time<map_close<map_window::cancels::running_too>>, METH_NOARGS,
     PyDoc_STR("_cancel($self)\n--\n\nAs close(), and the jobs that run are cancelled too.")},
    {"__enter__", map_enter, METH_NOARGS, PyDoc_STR("__enter__($self)\n--\n\nReturn self.")},
    {"__exit__", one_at_a_time<map_close<map_window::cancels::queued>>, METH_VARARGS,
     PyDoc_STR("__exit__($self, exc_type, exc, traceback, /)\n--\n\nclose().")},
    {"_poll", one_at_a_time<map_poll>, METH_NOARGS,
     PyDoc_STR("_poll($self)\n--\n\nAn ended job, a list of jobs to wait for one of, or None at the end.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("MapIterator[Out], for type hints.")},
    {nullptr, nullptr, 0, nullptr}};

PyAsyncMethods async_methods = {nullptr, map_self, one_at_a_time<map_anext>, nullptr};

PyTypeObject map_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

} // namespace

PyObject* make_map_iterator(python_pool& home, PyObject* payloads, bool ordered, Py_ssize_t buffer,
                            const call_limits& limits) {
    PyObject* const source = PyObject_GetIter(payloads);
    if (source == nullptr) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) && Py_TYPE(payloads)->tp_iter == nullptr) {
            PyErr_Format(PyExc_TypeError, "map() takes an iterable of payloads, not %.100s",
                         Py_TYPE(payloads)->tp_name);
        }
        return nullptr;
    }
    auto* const self = PyObject_GC_New(map_iterator, &map_type);
    if (self == nullptr) {
        Py_DECREF(source);
        return nullptr;
    }
    self->weak_references = nullptr;
    self->state = new (std::nothrow) map_state(home, source, ordered, limits);
    if (self->state == nullptr) {
        Py_DECREF(source);
        PyObject_GC_Del(self);
        return PyErr_NoMemory();
    }
    self->state->fixed_width = buffer > 0;
    self->state->width =
        buffer > 0 ? static_cast<std::size_t>(buffer) : 2 * std::size_t{home.core->size()} + 2;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

int register_map_iterator(PyObject* module) {
    PyTypeObject& type = map_type;
    type.tp_name = "loomy.MapIterator";
    type.tp_doc = PyDoc_STR("The results of Pool.map, for use with for and async for.");
    type.tp_basicsize = sizeof(map_iterator);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = map_dealloc;
    type.tp_traverse = map_traverse;
    type.tp_clear = map_clear;
    type.tp_repr = one_at_a_time<map_represent>;
    type.tp_iter = map_self;
    type.tp_iternext = one_at_a_time<map_next>;
    type.tp_methods = methods;
    type.tp_as_async = &async_methods;
    type.tp_weaklistoffset = offsetof(map_iterator, weak_references);
    if (PyType_Ready(&type) < 0) return -1;
    return PyModule_AddObjectRef(module, "MapIterator", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
