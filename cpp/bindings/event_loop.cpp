#include "event_loop.hpp"

#include <new>
#include <string_view>

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

// What was seen last on this thread. No reference: it is alive as long as none has died since.
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

PyObject* had_turn(PyObject* self, PyObject*) {
    as_event_loop(self)->turn_asked = false;
    Py_RETURN_NONE;
}

PyMethodDef had_turn_definition = {"loomy", had_turn, METH_NOARGS, nullptr};

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
    new (&self->arrived) std::atomic<listener*>(nullptr);
    new (&self->wake_failed) std::atomic<bool>(false);
    new (&self->wakes_itself) listener;
    new (&self->taken) std::atomic<loop_call*>(nullptr);
    new (&self->waits_inside) std::atomic<int>(0);
    self->staying_since_ns = 0;
    self->look_after_s = 0;
    self->look_asked = self->wake_asked = self->turn_asked = false;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

int event_loop_traverse(PyObject* self, visitproc visit, void* arg) {
    event_loop& mine = *as_event_loop(self);
    // Nobody changes the lists meanwhile: that takes an attached thread.
    const listener* const lists[] = {mine.arrived.load(std::memory_order_acquire),
                                     mine.taken.load(std::memory_order_relaxed)};
    for (const listener* const first : lists) {
        for (const listener* one = first; one != nullptr; one = one->next) {
            if (one == &mine.wakes_itself) continue;
            const auto* const call = static_cast<const loop_call*>(one);
            Py_VISIT(call->callback);
            Py_VISIT(call->argument);
            Py_VISIT(call->context);
        }
    }
    Py_VISIT(mine.ready);
    return 0;
}

int event_loop_clear(PyObject* self) {
    as_event_loop(self)->drop_all();
    Py_CLEAR(as_event_loop(self)->ready);
    return 0;
}

void event_loop_dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    if constexpr (!gil::is_free_threaded) ++deaths;
    as_event_loop(self)->drop_all();
    Py_CLEAR(as_event_loop(self)->ready);
    Py_CLEAR(as_event_loop(self)->loop);
    PyObject_GC_Del(self);
}

// asyncio's function, once asyncio has been imported; null, without an error, before that.
PyObject* running_loop_function() {
    static std::atomic<PyObject*> known{nullptr};
    PyObject* function = known.load(std::memory_order_acquire);
    if (function != nullptr) return function;
    if (asyncio_absence::was_seen() || asyncio_absence::look()) return nullptr;
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

#if PY_VERSION_HEX < 0x030C0000
// What asyncio of 3.11 keeps in the dictionary of a thread's state: a new one for each loop that begins to
// run there. asyncio's own answer costs a system call.
struct running_loop_holder {
    PyObject_HEAD PyObject* loop; // None between loops
};
// Its type, once one was seen to hold what asyncio says.
PyTypeObject* holder_type = nullptr;

running_loop_holder* holder_of_this_thread() {
    static PyObject* const key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    PyObject* const state = gil::thread_dict();
    if (key == nullptr || state == nullptr) return nullptr;
    return reinterpret_cast<running_loop_holder*>(PyDict_GetItemWithError(state, key));
}

bool is_holder(running_loop_holder* one, PyObject* loop) {
    PyTypeObject* const type = Py_TYPE(reinterpret_cast<PyObject*>(one));
    return std::string_view(type->tp_name) == "_RunningLoopHolder" &&
           type->tp_basicsize >= static_cast<Py_ssize_t>(sizeof(running_loop_holder)) && one->loop == loop;
}
#endif

// What the function answers. asyncio's is C and takes nothing: it is called without the ceremony, which costs
// more than it does.
PyObject* ask(PyObject* function) {
    if (PyCFunction_CheckExact(function) && PyCFunction_GET_FLAGS(function) == METH_NOARGS)
        return PyCFunction_GET_FUNCTION(function)(PyCFunction_GET_SELF(function), nullptr);
    return PyObject_CallNoArgs(function);
}

// The loop that runs on this thread: a new reference, None or null if there is none.
PyObject* running_loop() {
    PyObject* const function = running_loop_function();
    if (function == nullptr) return nullptr;
#if PY_VERSION_HEX < 0x030C0000
    running_loop_holder* const holder = holder_of_this_thread();
    if (holder != nullptr && Py_TYPE(reinterpret_cast<PyObject*>(holder)) == holder_type)
        return Py_NewRef(holder->loop);
    PyErr_Clear();
#endif
    PyObject* const loop = ask(function);
#if PY_VERSION_HEX < 0x030C0000
    if (loop != nullptr && loop != Py_None && holder != nullptr && is_holder(holder, loop))
        holder_type = Py_TYPE(reinterpret_cast<PyObject*>(holder));
#endif
    return loop;
}

// The same as what loomy keeps of it was seen last on this thread: a new reference, or null if that is not
// so.
event_loop* as_seen_last(PyObject* loop) {
    if constexpr (gil::is_free_threaded) return nullptr;
    if (last_running.of == nullptr || last_running.deaths != deaths) return nullptr;
    PyObject* const last = loop_of(*last_running.of);
    const bool is_same = last == loop;
    Py_XDECREF(last);
    PyErr_Clear();
    if (!is_same) return nullptr;
    Py_INCREF(reinterpret_cast<PyObject*>(last_running.of));
    return last_running.of;
}

} // namespace

event_loop::others event_loop::what_else() const {
    if (taken.load(std::memory_order_relaxed) != nullptr) return others::ready;
    if (ready == nullptr) return others::unknown;
    // Who arrives while the loop is woken by itself leaves nothing in its queue.
    if (wake_asked && arrived.load(std::memory_order_relaxed) != &wakes_itself) return others::ready;
    const Py_ssize_t waiting = PyObject_Size(ready);
    if (waiting < 0) PyErr_Clear();
    return waiting == (turn_asked ? 1 : 0) + (wake_asked ? 1 : 0) ? others::none : others::ready;
}

int event_loop::may_stay() {
    const std::int64_t now = now_ns();
    if (turn_asked) return now - staying_since_ns < longest_stay_ns ? 1 : 0;
    PyObject* const own = loop_of(*this);
    if (own == nullptr) return PyErr_Occurred() != nullptr ? -1 : 1;
    const bool asked = call_loop(own, "call_soon", had_turn_definition, reinterpret_cast<PyObject*>(this));
    Py_DECREF(own);
    if (!asked) return -1;
    turn_asked = true;
    staying_since_ns = now;
    return 1;
}

// Which loop runs is asked each time: another may run inside it, or after it, on the same thread.
event_loop* running_event_loop() {
    PyObject* const loop = running_loop();
    if (loop == nullptr) return nullptr;
    event_loop* kept = loop != Py_None ? as_seen_last(loop) : nullptr;
    if (kept == nullptr && loop != Py_None) {
        kept = reinterpret_cast<event_loop*>(kept_by(loop));
        last_running = {kept, deaths};
    }
    Py_DECREF(loop);
    return kept;
}

bool set_running_loop(PyObject* loop) {
    PyObject* const set = borrowed_class("loomy._asyncio_bridge", "set_running_loop");
    PyObject* const nothing = set != nullptr ? PyObject_CallOneArg(set, loop) : nullptr;
    Py_XDECREF(nothing);
    return nothing != nullptr;
}

bool asyncio_absence::look() {
    const Py_ssize_t count = PyDict_GET_SIZE(modules);
    PyObject* const name = PyUnicode_InternFromString("asyncio.events");
    PyObject* const imported = name != nullptr ? PyImport_GetModule(name) : nullptr;
    Py_XDECREF(name);
    const bool absent = imported == nullptr && PyErr_Occurred() == nullptr;
    if (absent) modules_without_it.store(count, std::memory_order_relaxed);
    Py_XDECREF(imported);
    return absent;
}

PyObject* hide_running_loop() {
    PyObject* const loop = running_loop();
    if (loop != nullptr && loop != Py_None && set_running_loop(Py_None)) return loop;
    if (loop != Py_None) PyErr_Clear(); // no memory: the job sees the loop
    Py_XDECREF(loop);
    return nullptr;
}

void show_running_loop(PyObject* hidden) {
    if (!set_running_loop(hidden)) errors::report_unraisable("event loop that had a job run", hidden);
    Py_DECREF(hidden);
}

void forget_running_event_loop() noexcept {
    last_running = {};
#if PY_VERSION_HEX < 0x030C0000
    holder_type = nullptr; // what this thread's dictionary has is the parent's
#endif
}

bool call_loop(PyObject* loop, const char* method, PyMethodDef& definition, PyObject* self) {
    PyObject* const function = PyCFunction_New(&definition, self);
    PyObject* const handle = function != nullptr ? PyObject_CallMethod(loop, method, "O", function) : nullptr;
    Py_XDECREF(function);
    Py_XDECREF(handle);
    return handle != nullptr;
}

PyObject* loop_of(event_loop& of) {
    return weakly(of.loop);
}

int register_event_loop(PyObject*) {
    asyncio_absence::modules = Py_NewRef(PyImport_GetModuleDict());
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
