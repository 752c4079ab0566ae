#include <new>

#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "pool_object.hpp"
#include "process_exit.hpp"
#include "python_module.hpp"
#include "timeout.hpp"
#include "wait_watch.hpp"

namespace loomy::py {

bool call_limits::parse(PyObject* timeout, PyObject* ctx) {
    if (!parse_timeout(timeout, &until, "timeout")) return false;
    cancel_token* parent = nullptr;
    if (ctx != nullptr && ctx != Py_None) {
        parent = context_token(ctx);
        if (parent == nullptr) return false;
        context = ctx;
    }
    if (until.is_never() && parent == nullptr) return true;
    try {
        token = cancel_token::make(until, parent);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    deadline_is_context = parent != nullptr && !parent->when().is_never() && parent->when() <= until;
    until = token->when();
    return true;
}

PyObject* broken_error() {
    PyObject* const kind = borrowed_class("concurrent.futures.thread", "BrokenThreadPool");
    if (kind == nullptr) return nullptr;
    return errors::make(kind, nullptr, "%s", broken_message);
}

PyObject* raise_not_running(const python_pool& home) {
    if (home.broken.load(std::memory_order_relaxed)) {
        errors::put_back(broken_error());
        return nullptr;
    }
    if (home.core->dead()) {
        return PyErr_Format(errors::pool_not_running(),
                            "pool '%U' belongs to the parent process; make a new pool after a fork",
                            home.name);
    }
    if (home.kind == pool_kind::executor) { // the standard library's class, in its words
        PyErr_SetString(PyExc_RuntimeError, is_exiting()
                                                ? "cannot schedule new futures after interpreter shutdown"
                                                : "cannot schedule new futures after shutdown");
        return nullptr;
    }
    return PyErr_Format(errors::pool_not_running(),
                        "pool '%U' was closed and takes no more jobs; make a new pool", home.name);
}

PyObject* raise_full(python_pool& home) {
    home.core->count_rejected();
    const auto depth = static_cast<unsigned long long>(home.core->queue_length());
    PyObject* const error = PyObject_CallFunction(
        errors::pool_full(), "NK",
        PyUnicode_FromFormat(
            "pool '%U' is full: %llu jobs are queued; submit less, wait, or raise max_pending", home.name,
            depth),
        depth);
    if (error != nullptr) {
        errors::put_back(error);
    }
    return nullptr;
}

PyObject* raise_no_thread(const python_pool& home) {
    return PyErr_Format(
        PyExc_RuntimeError,
        "pool '%U' has no worker thread and the system gives it none; the job was not submitted", home.name);
}

full_answer meet_full(python_pool& home, const call_limits& limits) {
    switch (home.on_full) {
        case when_full::raise:
            raise_full(home);
            return full_answer::failed;
        case when_full::caller_runs:
            return full_answer::run_here;
        case when_full::block:
            break;
    }
    pool& core = *home.core;
    if (frame* const inside = frame::of(core)) {
        // A job that waits for a place in its own pool makes one, or nobody might.
        const gil::detached scope;
        if (core.make_place(*inside)) return full_answer::again;
    }
    wait_watch watch(limits, core, &pool::announce_places);
    const int woken = gil::wait_detached(
        limits.until, [&](deadline slice) { return core.wait_for_place(slice, watch.flag()); });
    watch.close();
    if (woken < 0) return full_answer::failed;
    return woken == 0 || limits.over() != cancel_reason::none ? full_answer::over : full_answer::again;
}

} // namespace loomy::py
