#include "event_loop.hpp"

#include <new>

#include "errors.hpp"
#include "gil.hpp"
#include "loomy/base/clock.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// How long tasks may go on in one turn of the loop when none of their awaits needs to suspend. A turn costs
// some ten microseconds.
constexpr std::int64_t longest_stay_ns = 200'000;

PyTypeObject event_loop_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

// How many of these objects have died; guarded by the GIL, unused without it.
std::uint64_t deaths = 0;

// No reference: it is alive as long as none has died since.
struct last_seen {
    event_loop* of = nullptr;
    std::uint64_t deaths = 0;
};
thread_local last_seen last_running;

event_loop* as_event_loop(PyObject* self) noexcept {
    return reinterpret_cast<event_loop*>(self);
}

PyObject* weakly(PyObject* weak) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject* strong = nullptr;
    return PyWeakref_GetRef(weak, &strong) > 0 ? strong : nullptr;
#else
    PyObject* const strong = PyWeakref_GetObject(weak);
    return strong != Py_None ? Py_XNewRef(strong) : nullptr;
#endif
}

// Calls.

loop_call* reversed(loop_call* newest) noexcept {
    loop_call* oldest = nullptr;
    while (newest != nullptr) {
        auto* const next = static_cast<loop_call*>(newest->next);
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void drop_all(event_loop& of) {
    for (loop_call* one = of.arrived.exchange(nullptr, std::memory_order_acquire); one != nullptr;) {
        auto* const next = static_cast<loop_call*>(one->next);
        delete one;
        one = next;
    }
}

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
    if (one.snapshot != nullptr ? lent.enter(*one.snapshot) : PyContext_Enter(one.context) == 0) {
        nothing = PyObject_CallOneArg(one.callback, one.argument);
        PyObject* const raised = nothing == nullptr ? errors::take_raised() : nullptr;
        if (one.snapshot != nullptr) {
            lent.leave();
        } else if (PyContext_Exit(one.context) != 0) {
            PyErr_Clear();
        }
        if (raised != nullptr) {
            errors::raise(raised);
            Py_DECREF(raised);
        }
    }
    if (nothing == nullptr) return survived(of, one);
    Py_DECREF(nothing);
    return true;
}

// Everything that has arrived by now. What arrives meanwhile wakes the loop again, so that others have their
// turn in between. False with an error set: it goes through the loop, which may come back for the rest.
bool run_arrived(event_loop& mine) {
    // acquire: pairs with (1) in post.
    loop_call* one = reversed(mine.arrived.exchange(nullptr, std::memory_order_acquire));
    lent_context lent;
    bool goes_on = true;
    while (goes_on && one != nullptr) {
        auto* const next = static_cast<loop_call*>(one->next);
        goes_on = run(mine, *one, lent);
        delete one;
        one = next;
    }
    lent.forget_idle();
    if (goes_on) return true;
    PyObject* const raised = errors::take_raised();
    while (one != nullptr) {
        auto* const next = static_cast<loop_call*>(one->next);
        mine.post(*one);
        one = next;
    }
    errors::raise(raised);
    Py_DECREF(raised);
    return false;
}

// What the loop calls is bound to a capsule, which knows whether it was called: a loop that is closed drops
// its callbacks, and then what has arrived is dropped as well, because it may be all that keeps the loop.

constexpr const char* wake_capsule = "loomy._wake";

PyObject* take_arrived(PyObject* capsule, PyObject*) {
    auto* const mine = static_cast<event_loop*>(PyCapsule_GetPointer(capsule, wake_capsule));
    if (mine == nullptr || PyCapsule_SetContext(capsule, mine) != 0) return nullptr;
    if (!run_arrived(*mine)) return nullptr;
    Py_RETURN_NONE;
}

PyMethodDef take_arrived_definition = {"loomy", take_arrived, METH_NOARGS, nullptr};

void wake_is_over(PyObject* capsule) {
    auto* const mine = static_cast<event_loop*>(PyCapsule_GetPointer(capsule, wake_capsule));
    if (PyCapsule_GetContext(capsule) == nullptr) drop_all(*mine);
    Py_DECREF(reinterpret_cast<PyObject*>(mine));
}

PyObject* had_turn(PyObject* self, PyObject*) {
    as_event_loop(self)->turn_asked = false;
    Py_RETURN_NONE;
}

PyMethodDef had_turn_definition = {"loomy", had_turn, METH_NOARGS, nullptr};

// loop.<method>(<function bound to self>). False with an error set.
bool ask(PyObject* loop, const char* method, PyMethodDef& definition, PyObject* self) {
    PyObject* const function = PyCFunction_New(&definition, self);
    PyObject* const handle = function != nullptr ? PyObject_CallMethod(loop, method, "O", function) : nullptr;
    Py_XDECREF(function);
    Py_XDECREF(handle);
    return handle != nullptr;
}

bool is_closed(PyObject* loop) {
    PyObject* const answer = PyObject_CallMethod(loop, "is_closed", nullptr);
    const bool closed = answer != nullptr && PyObject_IsTrue(answer) > 0;
    Py_XDECREF(answer);
    PyErr_Clear();
    return closed;
}

void wake(event_loop& of) {
    PyObject* const loop = loop_of(of);
    if (loop == nullptr) { // gone, and with it all who might wait
        PyErr_Clear();
        drop_all(of);
        return;
    }
    PyObject* const capsule = PyCapsule_New(&of, wake_capsule, &wake_is_over);
    if (capsule != nullptr) Py_INCREF(reinterpret_cast<PyObject*>(&of));
    if (capsule == nullptr || !ask(loop, "call_soon_threadsafe", take_arrived_definition, capsule)) {
        PyObject* const raised = errors::take_raised();
        if (!is_closed(loop)) {
            // Out of memory, most likely: what has arrived stays, and the next one that arrives tries again.
            if (capsule != nullptr) (void)PyCapsule_SetContext(capsule, &of);
            of.wake_failed.store(true, std::memory_order_relaxed);
            errors::raise(raised);
            errors::report_unraisable("waking an event loop", loop);
        } else if (capsule == nullptr) {
            drop_all(of);
        }
        Py_DECREF(raised);
    }
    Py_XDECREF(capsule);
    Py_DECREF(loop);
}

// The object.

PyObject* make_event_loop(PyObject* loop) {
    PyObject* const deque = borrowed_class("collections", "deque");
    if (deque == nullptr) return nullptr;
    PyObject* ready = PyObject_GetAttrString(loop, "_ready");
    if (ready == nullptr) PyErr_Clear();
    if (ready != nullptr && !Py_IS_TYPE(ready, reinterpret_cast<PyTypeObject*>(deque))) Py_CLEAR(ready);
    PyObject* const weak = PyWeakref_NewRef(loop, nullptr);
    event_loop* const self = weak != nullptr ? PyObject_GC_New(event_loop, &event_loop_type) : nullptr;
    if (self == nullptr) {
        Py_XDECREF(weak);
        Py_XDECREF(ready);
        return nullptr;
    }
    self->loop = weak;
    self->ready = ready;
    new (&self->arrived) std::atomic<loop_call*>(nullptr);
    new (&self->wake_failed) std::atomic<bool>(false);
    self->staying_since_ns = 0;
    self->turn_asked = false;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

int event_loop_traverse(PyObject* self, visitproc visit, void* arg) {
    // Nobody changes the stack meanwhile: that takes an attached thread.
    for (const listener* one = as_event_loop(self)->arrived.load(std::memory_order_acquire); one != nullptr;
         one = one->next) {
        const auto* const call = static_cast<const loop_call*>(one);
        Py_VISIT(call->callback);
        Py_VISIT(call->argument);
        Py_VISIT(call->context);
    }
    Py_VISIT(as_event_loop(self)->ready);
    return 0;
}

int event_loop_clear(PyObject* self) {
    drop_all(*as_event_loop(self));
    Py_CLEAR(as_event_loop(self)->ready);
    return 0;
}

void event_loop_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if constexpr (!gil::is_free_threaded) ++deaths;
    drop_all(*as_event_loop(self));
    Py_CLEAR(as_event_loop(self)->ready);
    Py_CLEAR(as_event_loop(self)->loop);
    PyObject_GC_Del(self);
}

// asyncio's function, once asyncio has been imported; null, without an error, before that.
PyObject* running_loop_function() {
    static std::atomic<PyObject*> known{nullptr};
    PyObject* function = known.load(std::memory_order_acquire);
    if (function != nullptr) return function;
    PyObject* const name = PyUnicode_InternFromString("asyncio.events");
    PyObject* const imported = name != nullptr ? PyImport_GetModule(name) : nullptr;
    Py_XDECREF(name);
    if (imported == nullptr) return nullptr;
    Py_DECREF(imported);
    function = borrowed_class("loomy._asyncio_bridge", "running_loop");
    known.store(function, std::memory_order_release);
    return function;
}

// The attribute of the loop; made when it is first asked for.
PyObject* kept_by(PyObject* loop) {
    static PyObject* const attribute = PyUnicode_InternFromString("_loomy_event_loop");
    if (attribute == nullptr) return PyErr_NoMemory();
    PyObject* kept = PyObject_GetAttr(loop, attribute);
    if (kept != nullptr) {
        if (Py_IS_TYPE(kept, &event_loop_type)) return kept;
        Py_DECREF(kept); // a loop that has every attribute
    } else if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return nullptr;
    }
    PyErr_Clear();
    // A loop without room for it has it kept beside it.
    PyObject* const aside = borrowed_class("loomy._asyncio_bridge", "event_loops");
    kept = aside != nullptr ? PyObject_CallMethod(aside, "get", "O", loop) : nullptr;
    if (kept == nullptr || kept != Py_None) return kept;
    Py_DECREF(kept);
    kept = make_event_loop(loop);
    if (kept == nullptr || PyObject_SetAttr(loop, attribute, kept) == 0) return kept;
    PyErr_Clear();
    if (PyObject_SetItem(aside, loop, kept) == 0) return kept;
    Py_DECREF(kept);
    return nullptr;
}

// The one that ran here last, if it still does: a new reference, or null if that is not known. asyncio's own
// answer costs a system call up to 3.13.
event_loop* known_to_run_here() {
    if constexpr (gil::is_free_threaded) return nullptr;
    if (last_running.of == nullptr || last_running.deaths != deaths) return nullptr;
    static PyObject* const attribute = PyUnicode_InternFromString("_thread_id");
    PyObject* const loop = attribute != nullptr ? loop_of(*last_running.of) : nullptr;
    PyObject* const thread = loop != nullptr ? PyObject_GetAttr(loop, attribute) : nullptr;
    const bool here = thread != nullptr && PyLong_Check(thread) &&
                      PyLong_AsUnsignedLong(thread) == PyThread_get_thread_ident();
    Py_XDECREF(thread);
    Py_XDECREF(loop);
    if (PyErr_Occurred() != nullptr) PyErr_Clear();
    if (!here) {
        last_running.of = nullptr;
        return nullptr;
    }
    Py_INCREF(reinterpret_cast<PyObject*>(last_running.of));
    return last_running.of;
}

} // namespace

loop_call* loop_call::make(event_loop* to, PyObject* callback, PyObject* argument, PyObject* context) {
    context_snapshot* const snapshot = context == nullptr ? context_snapshot::take() : nullptr;
    if (context == nullptr && snapshot == nullptr) return nullptr;
    auto* const made = new (std::nothrow) loop_call;
    if (made == nullptr) {
        if (snapshot != nullptr) snapshot->release();
        PyErr_NoMemory();
        return nullptr;
    }
    made->call = &job_ended;
    Py_INCREF(reinterpret_cast<PyObject*>(to));
    made->to = to;
    made->callback = Py_NewRef(callback);
    made->argument = Py_NewRef(argument);
    made->context = Py_XNewRef(context);
    made->snapshot = snapshot;
    return made;
}

loop_call::~loop_call() {
    Py_DECREF(callback);
    Py_DECREF(argument);
    Py_XDECREF(context);
    if (snapshot != nullptr) snapshot->release();
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
    loop_call* newest = arrived.load(std::memory_order_relaxed);
    do {
        one.next = newest;
        // (1) release: pairs with the exchange in take_arrived.
    } while (
        !arrived.compare_exchange_weak(newest, &one, std::memory_order_release, std::memory_order_relaxed));
    const bool again =
        wake_failed.load(std::memory_order_relaxed) && wake_failed.exchange(false, std::memory_order_relaxed);
    if (newest == nullptr || again) wake(*this);
}

bool event_loop::is_idle() const {
    if (ready == nullptr) return false;
    const Py_ssize_t waiting = PyObject_Size(ready);
    if (waiting < 0) PyErr_Clear();
    return waiting == (turn_asked ? 1 : 0);
}

int event_loop::may_stay() {
    const std::int64_t now = now_ns();
    if (turn_asked) return now - staying_since_ns < longest_stay_ns ? 1 : 0;
    PyObject* const own = loop_of(*this);
    if (own == nullptr) return PyErr_Occurred() != nullptr ? -1 : 1;
    const bool asked = ask(own, "call_soon", had_turn_definition, reinterpret_cast<PyObject*>(this));
    Py_DECREF(own);
    if (!asked) return -1;
    turn_asked = true;
    staying_since_ns = now;
    return 1;
}

event_loop* running_event_loop() {
    if (event_loop* const known = known_to_run_here()) return known;
    PyObject* const function = running_loop_function();
    PyObject* const loop = function != nullptr ? PyObject_CallNoArgs(function) : nullptr;
    if (loop == nullptr) return nullptr;
    PyObject* const kept = loop != Py_None ? kept_by(loop) : nullptr;
    Py_DECREF(loop);
    last_running.of = reinterpret_cast<event_loop*>(kept);
    last_running.deaths = deaths;
    return last_running.of;
}

void forget_running_event_loop() noexcept {
    last_running.of = nullptr;
}

PyObject* loop_of(event_loop& of) {
    return weakly(of.loop);
}

int register_event_loop(PyObject*) {
    PyTypeObject& type = event_loop_type;
    type.tp_name = "loomy._EventLoop";
    type.tp_basicsize = sizeof(event_loop);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = event_loop_dealloc;
    type.tp_traverse = event_loop_traverse;
    type.tp_clear = event_loop_clear;
    return PyType_Ready(&type);
}

} // namespace loomy::py
