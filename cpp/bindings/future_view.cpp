#include "future_view.hpp"

#include <new>

#include "errors.hpp"
#include "gil.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// Tells those who look at the future's condition that it has ended, unless they know. False with an error
// set.
bool settle(PyObject* self, PyObject* touched) {
    python_job& job = job_of(self);
    const char* const how = job.state() == phase::cancelled               ? "add_cancelled"
                            : job.state() == phase::done && !job.failed() ? "add_result"
                                                                          : "add_exception";
    PyObject* const nothing = PyObject_CallMethod(touched, "settle", "Os", self, how);
    Py_XDECREF(nothing);
    return nothing != nullptr;
}

struct settle_listener : listener {
    PyObject* future;
};

void settle_now(listener& node) {
    auto* const self = static_cast<settle_listener*>(&node);
    const gil::attached scope;
    if (!scope) return; // the interpreter is gone, and with it who asked
    if (!settle_if_touched(self->future)) errors::report_unraisable("end of a future", self->future);
    // What others have attached to the future may lead back to it.
    gil::track(self->future);
    Py_DECREF(self->future);
    delete self;
}

// Borrowed; made at the first call. Null with an error set.
PyObject* touched_of(PyObject* self) {
    std::atomic<PyObject*>& place = as_future(self)->touched;
    if (PyObject* const there = place.load(std::memory_order_acquire)) return there;
    PyObject* const kind = borrowed_class("loomy._futures", "Touched");
    PyObject* const made = kind != nullptr ? PyObject_CallNoArgs(kind) : nullptr;
    if (made == nullptr) return nullptr;
    auto* const node = new (std::nothrow) settle_listener{};
    if (node == nullptr) {
        Py_DECREF(made);
        return PyErr_NoMemory();
    }
    PyObject* nobody = nullptr;
    if (!place.compare_exchange_strong(nobody, made, std::memory_order_acq_rel, std::memory_order_acquire)) {
        delete node;
        Py_DECREF(made);
        return nobody;
    }
    node->call = &settle_now;
    node->future = Py_NewRef(self);
    // Published first: who finds it from now on and lists a waiter is told by this listener, or by this call.
    if (has_ended(job_of(self)) || !job_of(self).listen(*node)) settle_now(*node);
    return made;
}

PyObject* get_touched(PyObject* self, const char* name) {
    PyObject* const touched = touched_of(self);
    return touched != nullptr ? PyObject_GetAttrString(touched, name) : nullptr;
}

PyObject* get_condition(PyObject* self, void*) {
    return get_touched(self, "condition");
}

PyObject* get_waiters(PyObject* self, void*) {
    return get_touched(self, "waiters");
}

const char* state_word(python_job& job) noexcept {
    const phase now = job.state();
    if (now == phase::cancelled) return "CANCELLED_AND_NOTIFIED";
    if (has_ended(job)) return "FINISHED";
    return now == phase::pending ? "PENDING" : "RUNNING";
}

// Whoever holds the condition must see no end that has not been told to its waiters.
PyObject* get_state(PyObject* self, void*) {
    const char* const word = state_word(job_of(self));
    if (PyObject* const touched = as_future(self)->touched.load(std::memory_order_acquire)) {
        PyObject* const settled = PyObject_GetAttrString(touched, "state");
        if (settled != Py_None) return settled; // or null with the error set
        Py_DECREF(settled);
        if (has_ended(job_of(self))) return PyUnicode_FromString("RUNNING");
    }
    return PyUnicode_FromString(word);
}

PyObject* get_result(PyObject* self, void*) {
    python_job& job = job_of(self);
    if (job.state() == phase::done && !job.failed()) return job.answer();
    Py_RETURN_NONE;
}

PyObject* get_exception(PyObject* self, void*) {
    python_job& job = job_of(self);
    if (job.finished() && job.state() != phase::cancelled) return job.error();
    Py_RETURN_NONE;
}

// What is put into it may lead back to the future, as an attribute may.
PyObject* get_dict(PyObject* self, void*) {
    return show_to_collector(self) ? PyObject_GenericGetDict(self, nullptr) : nullptr;
}

int set_dict(PyObject* self, PyObject* value, void*) {
    return show_to_collector(self) ? PyObject_GenericSetDict(self, value, nullptr) : -1;
}

} // namespace

bool show_to_collector(PyObject* self) {
    if (!has_ended(job_of(self))) return touched_of(self) != nullptr;
    gil::track(self);
    return true;
}

bool settle_if_touched(PyObject* self) {
    // acquire: pairs with the exchange in touched_of.
    PyObject* const touched = as_future(self)->touched.load(std::memory_order_acquire);
    return touched == nullptr || settle(self, touched);
}

PyGetSetDef standard_library_view[] = {
    {"_condition", get_condition, nullptr, PyDoc_STR("For concurrent.futures.wait and as_completed."),
     nullptr},
    {"_waiters", get_waiters, nullptr, PyDoc_STR("For concurrent.futures.wait and as_completed."), nullptr},
    {"_state", get_state, nullptr, PyDoc_STR("The state in the words of concurrent.futures."), nullptr},
    {"_result", get_result, nullptr, PyDoc_STR("The result, or None."), nullptr},
    {"_exception", get_exception, nullptr, PyDoc_STR("The exception, or None."), nullptr},
    {"__dict__", get_dict, set_dict, PyDoc_STR("The attributes that somebody has set."), nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

} // namespace loomy::py
