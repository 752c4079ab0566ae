#include "future_view.hpp"

#include <new>

#include "errors.hpp"
#include "gil.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// The place of a future's Touched once it has spoken of its end and nobody had looked: an unsettled one can
// then no longer be published. Owned like one.
PyObject* const ended_unseen = Py_None;

bool is_seen(const PyObject* touched) noexcept {
    return touched != nullptr && touched != ended_unseen;
}

bool is_of_parent(PyObject* self, PyObject* touched) {
    if (!job_of(self).home->core->dead()) return false;
    PyObject* const here = PyObject_CallMethod(touched, "is_of_this_process", nullptr);
    const bool is_parents = here == Py_False;
    if (here == nullptr) PyErr_Clear();
    Py_XDECREF(here);
    return is_parents;
}

// Steals `made` if the future's place still holds `there`; else `there` is what it holds, borrowed.
bool replace(PyObject* self, PyObject*& there, PyObject* made) noexcept {
    return as_future(self)->touched.compare_exchange_strong(there, made, std::memory_order_acq_rel,
                                                            std::memory_order_acquire);
}

// What is in the future's place; borrowed. acquire: pairs with the exchanges that publish.
PyObject* look(PyObject* self) {
    PyObject* there = as_future(self)->touched.load(std::memory_order_acquire);
    if (!is_seen(there) || !is_of_parent(self, there)) return there;
    // In the child of a fork it is of no use: who held its lock may not be there, and nobody will settle it.
    // Its memory is left alone, as another thread may be looking at it.
    if (!replace(self, there, ended_unseen)) return there;
    return Py_NewRef(ended_unseen); // the place's
}

// After the end: from now on no unsettled one is published. Borrowed; null if nobody has looked.
PyObject* close_to_unsettled(PyObject* self) {
    PyObject* there = look(self);
    if (there == nullptr && replace(self, there, ended_unseen)) {
        Py_INCREF(ended_unseen);
        return nullptr;
    }
    return is_seen(there) ? there : nullptr;
}

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

// Of one that has ended.
const char* end_word(python_job& job) noexcept {
    return job.state() == phase::cancelled ? "CANCELLED_AND_NOTIFIED" : "FINISHED";
}

// A Touched that nobody else has seen, in that state. Null with an error set.
PyObject* make_touched(PyObject* state) {
    PyObject* const kind = borrowed_class("loomy._futures", "Touched");
    return kind != nullptr ? PyObject_CallOneArg(kind, state) : nullptr;
}

// Of the two that publish, false is an error; after true the place holds something new, of this thread's or
// of another's.

// While the job has not ended. What is published will be settled: by its listener, by this call, or by
// whoever comes first to speak of the end.
bool publish_unsettled(PyObject* self) {
    PyObject* const made = make_touched(Py_None);
    auto* const node = made != nullptr ? new (std::nothrow) settle_listener{} : nullptr;
    if (node == nullptr) {
        if (made != nullptr) PyErr_NoMemory();
        Py_XDECREF(made);
        return false;
    }
    PyObject* nobody = nullptr;
    if (!replace(self, nobody, made)) {
        delete node;
        Py_DECREF(made);
        return true;
    }
    node->call = &settle_now;
    node->future = Py_NewRef(self);
    // Published first: who finds it from now on and lists a waiter is told by this listener, or by this call.
    if (has_ended(job_of(self)) || !job_of(self).listen(*node)) settle_now(*node);
    return true;
}

// After the end: it says so from the first. One that were settled after it was published would for a moment
// say to others that a future still runs which has told them that it does not.
bool publish_settled(PyObject* self) {
    if (!settle_if_touched(self)) return false;
    PyObject* const state = PyUnicode_FromString(end_word(job_of(self)));
    PyObject* const made = state != nullptr ? make_touched(state) : nullptr;
    Py_XDECREF(state);
    if (made == nullptr) return false;
    PyObject* unseen = ended_unseen;
    const bool is_published = replace(self, unseen, made);
    Py_DECREF(is_published ? unseen : made);
    if (is_published) gil::track(self); // what others attach to the future may lead back to it
    return true;
}

// Borrowed; made at the first call. Null with an error set.
PyObject* touched_of(PyObject* self) {
    while (true) {
        PyObject* const there = look(self);
        if (is_seen(there)) return there;
        if (!(has_ended(job_of(self)) ? publish_settled(self) : publish_unsettled(self))) return nullptr;
    }
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

// Whoever holds the condition must see no end that has not been told to its waiters.
PyObject* get_state(PyObject* self, void*) {
    python_job& job = job_of(self);
    if (!has_ended(job)) return PyUnicode_FromString(job.state() == phase::pending ? "PENDING" : "RUNNING");
    PyObject* const touched = close_to_unsettled(self);
    if (touched == nullptr) return PyUnicode_FromString(end_word(job));
    PyObject* const settled = PyObject_GetAttrString(touched, "state");
    if (settled != Py_None) return settled; // or null with the error set
    Py_DECREF(settled);
    return PyUnicode_FromString("RUNNING");
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
    PyObject* const touched = close_to_unsettled(self);
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
