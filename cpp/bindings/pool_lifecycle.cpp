#include <new>

#include "arguments.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "pool_object.hpp"
#include "timeout.hpp"
#include "wait_watch.hpp"

namespace loomy::py {
namespace {

bool parse_size(PyObject* value, std::uint32_t* out) {
    if (!PyLong_Check(value) || PyBool_Check(value)) {
        PyErr_Format(PyExc_TypeError, "the size of a pool is a number of workers, an int, not %.100s",
                     Py_TYPE(value)->tp_name);
        return false;
    }
    int overflow = 0;
    const long long size = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0 || size < 0 || size > slot_set::capacity) {
        PyErr_Format(PyExc_ValueError, "the size of a pool must be from 0 to %u, not %R", slot_set::capacity,
                     value);
        return false;
    }
    *out = static_cast<std::uint32_t>(size);
    return true;
}

int resize(python_pool& home, PyObject* value, bool wait, deadline until) {
    std::uint32_t size = 0;
    if (!parse_size(value, &size)) return -1;
    try {
        if (!home.core->resize(size)) {
            raise_not_running(home);
            return -1;
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return -1;
    }
    const int gone = wait ? wait_for_size(home, size, until) : 1;
    if (gone == 0) {
        PyErr_Format(errors::job_timed_out(),
                     "the timeout passed before pool '%U' had shrunk to %u workers; the others leave after "
                     "the job they "
                     "are running",
                     home.name, size);
    }
    return gone > 0 ? 0 : -1;
}

} // namespace

int wait_for_size(python_pool& home, std::uint32_t size, deadline until) {
    if (home.is_inside() || home.core->dead()) return 1;
    return gil::wait_detached(until, [&](deadline slice) { return home.core->wait_for_size(size, slice); });
}

int join_threads_of(python_pool& home) {
    if (home.is_inside() || home.core->dead()) return 0;
    return home.join_threads();
}

PyObject* pool_set_size(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"n", "wait", "timeout"};
    python_pool* const home = pool_of(self);
    PyObject* given[3] = {nullptr, nullptr, nullptr};
    if (home == nullptr || !expected.parse("set_size", args, count, names, 1, 1, given)) return nullptr;
    deadline until;
    if (!parse_timeout(given[2], &until, "timeout")) return nullptr;
    const int wait = given[1] != nullptr ? PyObject_IsTrue(given[1]) : 1;
    if (wait < 0 || resize(*home, given[0], wait != 0, until) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* pool_get_size(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? PyLong_FromUnsignedLong(home->core->size()) : nullptr;
}

int pool_assign_size(PyObject* self, PyObject* value, void*) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return -1;
    if (value == nullptr) {
        PyErr_SetString(PyExc_TypeError, "the size of a pool cannot be deleted; set it to 0");
        return -1;
    }
    return resize(*home, value, true, deadline::never());
}

PyObject* pool_close(PyObject* self, PyObject*) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    home->core->discard();
    if (wait_for_size(*home, 0, deadline::never()) < 0 || join_threads_of(*home) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* pool_shutdown(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"timeout", "ctx"};
    python_pool* const home = pool_of(self);
    PyObject* given[2] = {nullptr, nullptr};
    if (home == nullptr || !expected.parse("shutdown", args, count, names, 0, 1, given)) return nullptr;
    call_limits limits;
    if (!limits.parse(given[0], given[1])) return nullptr;
    home->core->drain();
    int gone = 1;
    if (!home->is_inside() && !home->core->dead()) {
        wait_watch watch(limits, *home->core, &pool::announce_change);
        gone = gil::wait_detached(
            limits.until, [&](deadline slice) { return home->core->wait_for_size(0, slice, watch.flag()); });
        if (gone > 0 && home->core->workers() != 0) gone = 0; // the context ended it
        watch.close();
    }
    if (gone < 0) return nullptr;
    if (gone > 0) {
        if (join_threads_of(*home) < 0) return nullptr;
        Py_RETURN_NONE;
    }
    home->core->discard();
    home->core->stop_running();
    const bool cancelled = limits.given() && limits.token->check() == cancel_reason::cancelled;
    PyObject* const type = cancelled                    ? errors::job_cancelled()
                           : limits.deadline_is_context ? errors::deadline_exceeded()
                                                        : errors::job_timed_out();
    return PyErr_Format(
        type,
        "pool '%U' was %s before its jobs had ended: what was queued has failed, what runs was asked "
        "to stop, and its threads end with it",
        home->name, cancelled ? "cancelled" : "out of time");
}

} // namespace loomy::py
