#include "event_loop.hpp"

#include <new>

#include "await_inside_job.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "python_module.hpp"

// The calls that jobs post to an event loop, from the job's end to the loop's thread.

namespace loomy::py {
namespace {

// As the loop itself does with a callback that raises. False with an error set: it goes through the loop.
bool survived(event_loop& of, loop_call& one) {
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return false;
    PyObject* const error = errors::take_raised();
    PyObject* const report = borrowed_class("loomy._asyncio_bridge", "report_callback_error");
    PyObject* const loop = report != nullptr ? loop_of(of) : nullptr;
    PyObject* nothing = nullptr;
    if (loop != nullptr) {
        PyObject* const arguments[] = {loop, one.callback, error};
        nothing = PyObject_Vectorcall(report, arguments, 3, nullptr);
    }
    if (nothing == nullptr && PyErr_Occurred() != nullptr) {
        if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            Py_XDECREF(loop);
            Py_DECREF(error);
            return false;
        }
        errors::report_unraisable("callback of a job in an event loop", one.callback);
    }
    Py_XDECREF(nothing);
    Py_XDECREF(loop);
    Py_DECREF(error);
    return true;
}

// False with an error set when the call raised what must end the loop.
bool run(event_loop& of, loop_call& one, lent_context& lent) {
    PyObject* nothing = nullptr;
    if (one.snapshot ? lent.enter(one.snapshot) : PyContext_Enter(one.context) == 0) {
        nothing = PyObject_CallOneArg(one.callback, one.argument);
        PyObject* const raised = nothing == nullptr ? errors::take_raised() : nullptr;
        if (one.snapshot) {
            lent.leave();
        } else if (PyContext_Exit(one.context) != 0) {
            PyErr_Clear();
        }
        errors::put_back(raised);
    }
    if (nothing == nullptr) return survived(of, one);
    Py_DECREF(nothing);
    return true;
}

// What the loop calls is bound to a capsule, which knows whether it was called: a loop that is closed drops
// its callbacks, and then what has arrived is dropped as well, because it may be all that keeps the loop.

constexpr const char* wake_capsule = "loomy._wake";

PyObject* take_arrived(PyObject* capsule, PyObject*);

PyMethodDef take_arrived_definition = {"loomy", take_arrived, METH_NOARGS, nullptr};

void wake_is_over(PyObject* capsule) {
    auto* const mine = static_cast<event_loop*>(PyCapsule_GetPointer(capsule, wake_capsule));
    if (PyCapsule_GetContext(capsule) == nullptr) mine->drop_all();
    Py_DECREF(reinterpret_cast<PyObject*>(mine));
}

bool is_closed(PyObject* loop) {
    PyObject* const answer = PyObject_CallMethod(loop, "is_closed", nullptr);
    const bool closed = answer != nullptr && PyObject_IsTrue(answer) > 0;
    Py_XDECREF(answer);
    PyErr_Clear();
    return closed;
}

// `method`: how the loop is to be told, call_soon or call_soon_threadsafe.
void wake(event_loop& of, const char* method) {
    PyObject* const loop = loop_of(of);
    if (loop == nullptr) { // gone, and with it all who might wait
        PyErr_Clear();
        of.drop_arrived();
        return;
    }
    PyObject* const capsule = PyCapsule_New(&of, wake_capsule, &wake_is_over);
    if (capsule != nullptr) Py_INCREF(reinterpret_cast<PyObject*>(&of));
    if (capsule == nullptr || !call_loop(loop, method, take_arrived_definition, capsule)) {
        PyObject* const raised = errors::take_raised();
        if (!is_closed(loop)) {
            // Out of memory, most likely: what has arrived stays, and the next one that arrives tries again.
            if (capsule != nullptr) (void)PyCapsule_SetContext(capsule, &of);
            of.wake_failed.store(true, std::memory_order_relaxed);
            errors::raise(raised);
            errors::report_unraisable("waking an event loop", loop);
        } else if (capsule == nullptr) {
            of.drop_arrived();
        }
        Py_DECREF(raised);
    }
    Py_XDECREF(capsule);
    Py_DECREF(loop);
}

// To the calls that were taken before and have not been called yet, those that have arrived by now.
void take_what_arrived(event_loop& mine) {
    // acquire: pairs with (1) in post.
    listener* newest = mine.arrived.exchange(nullptr, std::memory_order_acquire);
    loop_call* oldest = nullptr;
    while (newest != nullptr) {
        listener* const next = newest->next;
        if (newest == &mine.wakes_itself) {
            mine.wake_asked = false;
        } else {
            newest->next = oldest;
            oldest = static_cast<loop_call*>(newest);
        }
        newest = next;
    }
    loop_call* last = mine.taken.load(std::memory_order_relaxed);
    while (last != nullptr && last->next != nullptr) last = static_cast<loop_call*>(last->next);
    if (last != nullptr) {
        last->next = oldest;
    } else {
        mine.taken.store(oldest, std::memory_order_relaxed);
    }
}

// If a call runs the loop, that one comes for the rest, unless others have woken it already.
void wake_for_the_rest(event_loop& mine) {
    listener* newest = nullptr;
    // relaxed: it carries nothing, and never changes.
    if (!mine.arrived.compare_exchange_strong(newest, &mine.wakes_itself, std::memory_order_relaxed)) return;
    mine.wake_asked = true;
    wake(mine, "call_soon");
}

// The next to be called; null if there is none.
loop_call* take_next(event_loop& mine) {
    loop_call* const one = mine.taken.load(std::memory_order_relaxed);
    if (one == nullptr) return nullptr;
    mine.taken.store(static_cast<loop_call*>(one->next), std::memory_order_relaxed);
    if (one->next != nullptr) wake_for_the_rest(mine);
    return one;
}

// Everything that has arrived by now. What arrives meanwhile wakes the loop again, so that others have their
// turn in between. False with an error set: it goes through the loop, which may come back for the rest.
bool run_arrived(event_loop& mine) {
    take_what_arrived(mine);
    lent_context lent;
    bool goes_on = true;
    while (goes_on) {
        loop_call* const one = take_next(mine);
        if (one == nullptr) break;
        goes_on = run(mine, *one, lent);
        PyObject* const raised = goes_on ? nullptr : errors::take_raised();
        delete one;
        errors::put_back(raised);
    }
    lent.forget_idle();
    return goes_on;
}

PyObject* take_arrived(PyObject* capsule, PyObject*) {
    auto* const mine = static_cast<event_loop*>(PyCapsule_GetPointer(capsule, wake_capsule));
    if (mine == nullptr || PyCapsule_SetContext(capsule, mine) != 0) return nullptr;
    if (!run_arrived(*mine)) return nullptr;
    Py_RETURN_NONE;
}

void drop(listener* first, const listener* except) {
    while (first != nullptr) {
        listener* const next = first->next;
        if (first != except) delete static_cast<loop_call*>(first);
        first = next;
    }
}

} // namespace

loop_call* loop_call::make(event_loop* to, PyObject* callback, PyObject* argument, PyObject* context) {
    context_snapshot snapshot = context == nullptr ? context_snapshot::take() : context_snapshot();
    if (context == nullptr && !snapshot) return nullptr;
    auto* const made = new (std::nothrow) loop_call;
    if (made == nullptr) {
        PyErr_NoMemory();
        return nullptr;
    }
    made->call = &job_ended;
    Py_INCREF(reinterpret_cast<PyObject*>(to));
    made->to = to;
    made->callback = Py_NewRef(callback);
    made->argument = Py_NewRef(argument);
    made->context = Py_XNewRef(context);
    made->snapshot = std::move(snapshot);
    made->is_inside_job = frame::top() != nullptr;
    if (!made->is_inside_job) return made;
    to->waits_inside.fetch_add(1, std::memory_order_relaxed);
    if (watch_inside_job(*to)) return made;
    delete made;
    return nullptr;
}

loop_call::~loop_call() {
    if (is_inside_job) to->waits_inside.fetch_sub(1, std::memory_order_relaxed);
    Py_DECREF(callback);
    Py_DECREF(argument);
    Py_XDECREF(context);
    Py_DECREF(reinterpret_cast<PyObject*>(to));
}

void loop_call::job_ended(listener& node) {
    const gil::attached scope;
    if (!scope) return; // the interpreter is gone, and with it the loop
    auto& self = static_cast<loop_call&>(node);
    PyObject* const kept = Py_NewRef(reinterpret_cast<PyObject*>(self.to));
    self.to->post(self);
    Py_DECREF(kept);
}

void event_loop::post(loop_call& one) {
    listener* newest = arrived.load(std::memory_order_relaxed);
    do {
        one.next = newest;
        // (1) release: pairs with the exchange in take_what_arrived.
    } while (
        !arrived.compare_exchange_weak(newest, &one, std::memory_order_release, std::memory_order_relaxed));
    const bool again =
        wake_failed.load(std::memory_order_relaxed) && wake_failed.exchange(false, std::memory_order_relaxed);
    if (newest == nullptr || again) wake(*this, "call_soon_threadsafe");
}

void event_loop::drop_arrived() {
    drop(arrived.exchange(nullptr, std::memory_order_acquire), &wakes_itself);
}

void event_loop::drop_all() {
    drop_arrived();
    drop(taken.exchange(nullptr, std::memory_order_acquire), nullptr);
}

} // namespace loomy::py
