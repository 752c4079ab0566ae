#include "errors.hpp"
#include "pool_object.hpp"
#include "python_module.hpp"

// Hooks and numbers of a pool.
namespace loomy::py {
namespace {

PyObject* counts(const histogram& buckets) {
    PyObject* const tuple = PyTuple_New(static_cast<Py_ssize_t>(buckets.size()));
    for (std::size_t i = 0; tuple != nullptr && i < buckets.size(); ++i) {
        PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), PyLong_FromUnsignedLongLong(buckets[i]));
    }
    return tuple;
}

} // namespace

PyObject* pool_set_hooks(PyObject* self, PyObject* hooks) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    PyObject* const base = borrowed_class("loomy.hooks", "Hooks");
    if (base == nullptr) return nullptr;
    if (hooks != Py_None && PyObject_IsInstance(hooks, base) != 1) {
        if (PyErr_Occurred() == nullptr) {
            PyErr_Format(PyExc_TypeError, "hooks must be an instance of loomy.Hooks or None, not %.100s",
                         Py_TYPE(hooks)->tp_name);
        }
        return nullptr;
    }
    if (home->set_hooks(hooks) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* pool_get_queue_length(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? PyLong_FromUnsignedLongLong(home->core->queue_length()) : nullptr;
}

PyObject* pool_get_running(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? PyLong_FromUnsignedLongLong(home->core->executing()) : nullptr;
}

PyObject* pool_get_name(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? Py_NewRef(home->name) : nullptr;
}

PyObject* pool_get_closed(PyObject* self, void*) {
    python_pool* const home = pool_of(self);
    return home != nullptr ? PyBool_FromLong(home->core->closed()) : nullptr;
}

PyObject* pool_stats(PyObject* self, PyObject*) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    const loomy::pool_stats now = home->core->stats();
    return Py_BuildValue("(KKKKKKKKKKKKKKdNN)", now.submitted, now.queued, now.running, now.completed,
                         now.failed, now.cancelled, now.timed_out, now.rejected, now.workers, now.idle,
                         now.peak_queued, now.wakes, now.parks, now.inlined, now.busy_seconds,
                         counts(now.queue_wait), counts(now.run_time));
}

} // namespace loomy::py
