#include "awaiter.hpp"

#include <utility>

#include "arguments.hpp"
#include "await_in_place.hpp"
#include "errors.hpp"
#include "event_loop.hpp"
#include "loomy/base/clock.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// To a task this is an iterator, and what the iterator yields while the job has not ended: an object that
// looks enough like an asyncio future for the task to suspend on. So there is no future, no generator and no
// callback in Python between the end of a job and the task's next step.
struct awaiter {
    PyObject_HEAD async_result* result; // null once the answer was given
    event_loop* loop;                   // null until the task suspends
    PyObject* cancel_message;           // null unless `is_cancelled`
    PyObject* iteration;                // the map whose next result it is, or null
    std::int64_t since_ns;              // when it began to wait in place, 0 if it did not
    bool had_turn;
    bool has_suspended;
    bool is_blocking;  // yielded just now: a task tells from this that it was awaited
    bool is_cancelled; // the task was
};

PyTypeObject awaiter_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

awaiter* as_awaiter(PyObject* self) noexcept {
    return reinterpret_cast<awaiter*>(self);
}

PyObject* raise_outside() {
    PyErr_SetString(PyExc_RuntimeError,
                    "a job can be awaited only where an asyncio event loop is running; elsewhere call its "
                    "wait()");
    return nullptr;
}

// Nobody waits any more: the job is cancelled.
void give_up(awaiter* self) {
    async_result* const result = std::exchange(self->result, nullptr);
    if (result == nullptr) return;
    (void)cancel_result(result);
    Py_DECREF(reinterpret_cast<PyObject*>(result));
}

PyObject* take_answer(awaiter* self) {
    async_result* const result = std::exchange(self->result, nullptr);
    PyObject* const answer = answer_outside_iteration(result->job);
    Py_DECREF(reinterpret_cast<PyObject*>(result));
    return answer;
}

PySendResult answer_or_suspend(awaiter* self, PyObject** out) {
    if (self->result == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "this await has ended already; await the result itself again");
        return PYGEN_ERROR;
    }
    python_job& job = self->result->job;
    if (job.finished()) {
        if (self->has_suspended) job.home->await_spin.slept(self->since_ns); // so it is learnt what pays
        *out = take_answer(self);
        return *out != nullptr ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (is_dead(self->result)) {
        (void)wait_for(self->result, deadline::never()); // says why there is nothing to wait for
        return PYGEN_ERROR;
    }
    if (self->loop == nullptr) {
        (void)raise_outside();
        return PYGEN_ERROR;
    }
    self->has_suspended = true;
    self->is_blocking = true;
    *out = Py_NewRef(reinterpret_cast<PyObject*>(self));
    return PYGEN_NEXT;
}

// One step of the task. PYGEN_RETURN: the answer; PYGEN_NEXT: suspended, until the job has ended or, with
// None, for one turn of the loop; PYGEN_ERROR: the job's error.
PySendResult step(awaiter* self, PyObject** out) {
    *out = nullptr;
    if (self->result == nullptr || self->has_suspended) return answer_or_suspend(self, out);
    if (self->loop == nullptr) self->loop = running_event_loop();
    if (self->loop == nullptr && PyErr_Occurred() != nullptr) return PYGEN_ERROR;
    if (self->loop == nullptr || is_dead(self->result)) return answer_or_suspend(self, out);
    before first = before::go_on;
    if (self->result->job.finished()) {
        // Even so: awaits that never suspend could keep the loop for ever.
        first = stay(*self->loop);
    } else {
        // Whatever runs in the wait, a signal handler or another job, may end this await.
        PyObject* const kept = Py_NewRef(reinterpret_cast<PyObject*>(self->result));
        first = wait_in_place(self->result, *self->loop, self->since_ns);
        Py_DECREF(kept);
    }
    // Once is enough: to be told when the job has ended costs less than to ask again in each turn.
    if (first == before::turn && !std::exchange(self->had_turn, true)) {
        *out = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    if (first == before::failed) {
        PyObject* const raised = errors::take_raised();
        give_up(self);
        errors::put_back(raised);
        return PYGEN_ERROR;
    }
    return answer_or_suspend(self, out);
}

// The iterator.

PySendResult awaiter_am_send(PyObject* self, PyObject*, PyObject** out) {
    return step(as_awaiter(self), out);
}

PyObject* awaiter_next(PyObject* self) {
    PyObject* out = nullptr;
    if (step(as_awaiter(self), &out) != PYGEN_RETURN) return out;
    // Not PyErr_SetObject alone: it takes a tuple for the arguments of the exception.
    PyObject* const stop = PyObject_CallOneArg(PyExc_StopIteration, out);
    Py_DECREF(out);
    if (stop != nullptr) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return nullptr;
}

PyObject* awaiter_send(PyObject* self, PyObject*) {
    return awaiter_next(self);
}

// The task was cancelled, or its coroutine is being closed, between two results of a map.
bool end_iteration(awaiter* self, PyObject* thrown) {
    PyObject* const map = std::exchange(self->iteration, nullptr);
    if (map == nullptr) return true;
    PyObject* const end = borrowed_class("loomy._asyncio_bridge", "end_iteration");
    PyObject* const nothing =
        end != nullptr ? PyObject_CallFunctionObjArgs(end, map, thrown, nullptr) : nullptr;
    Py_DECREF(map);
    Py_XDECREF(nothing);
    return nothing != nullptr;
}

PyObject* awaiter_throw(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    if (count < 1 || count > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments, got %zd", count);
        return nullptr;
    }
    // The task that waits is told something else than how the job ended. If it failed at the same time, that
    // is not what nobody looked at: a future's error is taken as seen as well once its task has been called
    // back.
    if (as_awaiter(self)->result != nullptr) as_awaiter(self)->result->job.note_error_was_seen();
    give_up(as_awaiter(self));
    PyObject* const type = args[0];
    if (!end_iteration(as_awaiter(self), type)) return nullptr;
    if (PyExceptionInstance_Check(type)) {
        errors::raise(type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, count > 1 && args[1] != Py_None ? args[1] : nullptr);
    } else {
        PyErr_Format(PyExc_TypeError, "throw() takes an exception, not %.100s", Py_TYPE(type)->tp_name);
        return nullptr;
    }
    if (count > 2 && PyTraceBack_Check(args[2])) {
        PyObject* const raised = errors::take_raised();
        (void)PyException_SetTraceback(raised, args[2]);
        errors::put_back(raised);
    }
    return nullptr;
}

PyObject* awaiter_close(PyObject* self, PyObject*) {
    give_up(as_awaiter(self));
    Py_RETURN_NONE;
}

// The future, as far as a task needs one.

PyObject* awaiter_get_loop(PyObject* self, PyObject*) {
    event_loop* const of = as_awaiter(self)->loop;
    if (of == nullptr) return raise_outside();
    PyObject* const loop = loop_of(*of);
    if (loop == nullptr && PyErr_Occurred() == nullptr)
        PyErr_SetString(PyExc_RuntimeError, "the event loop of this await is gone");
    return loop;
}

PyObject* awaiter_add_done_callback(PyObject* self, PyObject* const* args, Py_ssize_t count,
                                    PyObject* names) {
    static const argument_names expected{"callback", "context"};
    PyObject* given[2] = {nullptr, nullptr};
    if (!expected.parse("add_done_callback", args, count, names, 1, 1, given)) return nullptr;
    awaiter* const mine = as_awaiter(self);
    if (mine->loop == nullptr) return raise_outside();
    loop_call* const call =
        loop_call::make(mine->loop, given[0], self, given[1] == Py_None ? nullptr : given[1]);
    if (call == nullptr) return nullptr;
    if (mine->result == nullptr || !mine->result->job.listen(*call)) mine->loop->post(*call);
    Py_RETURN_NONE;
}

PyObject* awaiter_cancel(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"msg"};
    PyObject* message = nullptr;
    if (!expected.parse("cancel", args, count, names, 0, 1, &message)) return nullptr;
    awaiter* const mine = as_awaiter(self);
    if (mine->result == nullptr || mine->result->job.finished()) Py_RETURN_FALSE;
    // Before the job ends, for then the task is told.
    Py_XSETREF(mine->cancel_message, Py_NewRef(message != nullptr ? message : Py_None));
    mine->is_cancelled = true;
    PyObject* const kept = Py_NewRef(reinterpret_cast<PyObject*>(mine->result));
    mine->is_cancelled = cancel_result(mine->result);
    Py_DECREF(kept);
    return PyBool_FromLong(mine->is_cancelled);
}

// None: the answer comes from the next step. The task asks when it has been called back.
PyObject* awaiter_result(PyObject* self, PyObject*) {
    awaiter* const mine = as_awaiter(self);
    if (!mine->is_cancelled) Py_RETURN_NONE;
    PyObject* const type = borrowed_class("asyncio.exceptions", "CancelledError");
    if (type == nullptr) return nullptr;
    PyObject* const error = mine->cancel_message != Py_None ? PyObject_CallOneArg(type, mine->cancel_message)
                                                            : PyObject_CallNoArgs(type);
    if (error == nullptr) return nullptr;
    errors::put_back(error);
    return nullptr;
}

PyObject* awaiter_done(PyObject* self, PyObject*) {
    const awaiter* const mine = as_awaiter(self);
    return PyBool_FromLong(mine->result == nullptr || mine->result->job.finished());
}

PyObject* awaiter_cancelled(PyObject* self, PyObject*) {
    return PyBool_FromLong(as_awaiter(self)->is_cancelled);
}

// None but for the moment between being yielded and being taken over by the task: to asyncio.isfuture() this
// is no future then. Who passes the await itself to gather or ensure_future, as with a map's anext(), means
// what it gives, as of any coroutine; it belongs to no loop yet, and result() would be empty.
PyObject* awaiter_get_blocking(PyObject* self, void*) {
    return Py_NewRef(as_awaiter(self)->is_blocking ? Py_True : Py_None);
}

int awaiter_set_blocking(PyObject* self, PyObject* value, void*) {
    if (value == nullptr) {
        PyErr_SetString(PyExc_AttributeError, "_asyncio_future_blocking cannot be deleted");
        return -1;
    }
    const int truth = PyObject_IsTrue(value);
    if (truth < 0) return -1;
    as_awaiter(self)->is_blocking = truth != 0;
    return 0;
}

PyObject* represent(PyObject* self) {
    async_result* const result = as_awaiter(self)->result;
    if (result == nullptr) return PyUnicode_FromString("<await of a loomy.AsyncResult, ended>");
    return PyUnicode_FromFormat("<await of %R>", reinterpret_cast<PyObject*>(result));
}

// The object.

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(reinterpret_cast<PyObject*>(as_awaiter(self)->result));
    Py_VISIT(reinterpret_cast<PyObject*>(as_awaiter(self)->loop));
    Py_VISIT(as_awaiter(self)->cancel_message);
    Py_VISIT(as_awaiter(self)->iteration);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(as_awaiter(self)->result);
    Py_CLEAR(as_awaiter(self)->loop);
    Py_CLEAR(as_awaiter(self)->cancel_message);
    Py_CLEAR(as_awaiter(self)->iteration);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    (void)clear(self);
    PyObject_GC_Del(self);
}

PyMethodDef methods[] = {
    {"send", awaiter_send, METH_O, nullptr},
    {"throw", as_method(awaiter_throw), METH_FASTCALL, nullptr},
    {"close", awaiter_close, METH_NOARGS, nullptr},
    {"get_loop", awaiter_get_loop, METH_NOARGS, nullptr},
    {"add_done_callback", as_method(awaiter_add_done_callback), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"cancel", as_method(awaiter_cancel), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"result", awaiter_result, METH_NOARGS, nullptr},
    {"done", awaiter_done, METH_NOARGS, nullptr},
    {"cancelled", awaiter_cancelled, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef attributes[] = {
    {"_asyncio_future_blocking", awaiter_get_blocking, awaiter_set_blocking, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyAsyncMethods async_methods = {PyObject_SelfIter, nullptr, nullptr, awaiter_am_send};

} // namespace

PyObject* await_result(async_result* result, PyObject* iteration) {
    awaiter* const self = PyObject_GC_New(awaiter, &awaiter_type);
    if (self == nullptr) return nullptr;
    Py_INCREF(reinterpret_cast<PyObject*>(result));
    self->result = result;
    self->loop = nullptr;
    self->cancel_message = nullptr;
    self->iteration = Py_XNewRef(iteration);
    self->since_ns = 0;
    self->had_turn = self->has_suspended = self->is_blocking = self->is_cancelled = false;
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return reinterpret_cast<PyObject*>(self);
}

int register_awaiter(PyObject*) {
    PyTypeObject& type = awaiter_type;
    type.tp_name = "loomy._Await";
    type.tp_basicsize = sizeof(awaiter);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_iter = PyObject_SelfIter;
    type.tp_iternext = awaiter_next;
    type.tp_methods = methods;
    type.tp_getset = attributes;
    type.tp_as_async = &async_methods;
    return PyType_Ready(&type);
}

} // namespace loomy::py
