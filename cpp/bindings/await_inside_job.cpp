#include "await_inside_job.hpp"

#include <algorithm>

#include "errors.hpp"
#include "gil.hpp"
#include "running_call.hpp"

namespace loomy::py {
namespace {

constexpr double first_look_s = 0.001;
constexpr double longest_look_s = 0.02;

// To whoever waits for a slot: the jobs this thread is inside of end only when the loop has what it waits
// for.
void note_loop() noexcept {
    for (frame* one = frame::top(); one != nullptr; one = one->outer) {
        if (one->context != nullptr) static_cast<running_call*>(one->context)->note_loop();
    }
}

// Calls what may run jobs. To those no loop is running on this thread. False with an error set.
template <class Call>
bool without_loop(event_loop& loop, Call&& call) {
    PyObject* const own = loop_of(loop);
    if (own == nullptr) return PyErr_Occurred() == nullptr;
    bool well = set_running_loop(Py_None);
    if (well) {
        well = call();
        PyObject* const raised = well ? nullptr : errors::take_raised();
        const bool restored = set_running_loop(own);
        if (raised != nullptr && restored) errors::raise(raised);
        Py_XDECREF(raised);
        well = well && restored;
    }
    Py_DECREF(own);
    return well;
}

// Runs one job that is queued in a pool whose slots are all held by threads like this one. 1, 0 if there is
// none, or -1 with an error set.
int run_stuck(event_loop& loop) {
    for (frame* one = frame::top(); one != nullptr; one = one->outer) {
        if (!one->owner.depends_on(one->where)) continue;
        if (const int made = make_place_inside_job(one->owner, loop); made != 0) return made;
    }
    return 0;
}

PyObject* look(PyObject* self, PyObject*);
PyMethodDef look_definition = {"loomy", look, METH_NOARGS, nullptr};

bool look_later(event_loop& loop, double seconds) {
    PyObject* const own = loop_of(loop);
    if (own == nullptr) return PyErr_Occurred() == nullptr;
    PyObject* const function = PyCFunction_New(&look_definition, reinterpret_cast<PyObject*>(&loop));
    PyObject* const handle =
        function != nullptr ? PyObject_CallMethod(own, "call_later", "dO", seconds, function) : nullptr;
    loop.look_asked = handle != nullptr;
    Py_XDECREF(function);
    Py_XDECREF(handle);
    Py_DECREF(own);
    return loop.look_asked;
}

PyObject* look(PyObject* self, PyObject*) {
    event_loop& loop = *reinterpret_cast<event_loop*>(self);
    loop.look_asked = false;
    if (frame::top() == nullptr || loop.waits_inside.load(std::memory_order_relaxed) == 0) Py_RETURN_NONE;
    const int ran = run_stuck(loop);
    if (ran < 0) return nullptr;
    // One at a time: other tasks have their turn in between.
    loop.look_after_s = ran > 0 ? 0 : std::clamp(loop.look_after_s * 2, first_look_s, longest_look_s);
    if (!loop.look_asked && !look_later(loop, loop.look_after_s)) return nullptr;
    Py_RETURN_NONE;
}

} // namespace

before await_inside_job(async_result* result, event_loop& loop) {
    note_loop();
    const pool& home = *result->job.home->core;
    frame* const on = frame::of(home);
    if (on == nullptr || !home.depends_on(on->where)) return before::go_on;
    const bool well = without_loop(loop, [result] { return wait_for(result, deadline::after(0)) >= 0; });
    return well ? before::go_on : before::failed;
}

bool watch_inside_job(event_loop& loop) {
    note_loop();
    if (loop.look_asked) return true;
    loop.look_after_s = first_look_s;
    return look_later(loop, loop.look_after_s);
}

int make_place_inside_job(pool& full, event_loop& loop) {
    note_loop();
    frame* const on = frame::of(full);
    if (on == nullptr || !full.depends_on(on->where)) return 0;
    bool made = false;
    const bool well = without_loop(loop, [&] {
        const gil::detached scope;
        made = full.make_place(*on);
        return true;
    });
    return !well ? -1 : made ? 1 : 0;
}

} // namespace loomy::py
