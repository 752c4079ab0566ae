#include "python_env.hpp"

#include <utility>

#include "errors.hpp"
#include "gil.hpp"
#include "loomy/base/clock.hpp"
#include "python_module.hpp"

namespace loomy::py {

void python_env::enter(job& next) {
    if ((next.word() & job::native) != 0) { // it would keep from the others what it has no use for
        leave();
        return;
    }
    if (gil::is_detached_here()) {
        forced_ = gil::attach_for_work() != 0;
        attached_since_ns_ = 0;
        jobs_since_look_ = 0;
        return;
    }
    // Draining. Short jobs look at the clock now and then only.
    if ((++jobs_since_look_ & 31) != 0) return;
    const std::int64_t now = now_ns();
    if (attached_since_ns_ == 0) attached_since_ns_ = now;
    if (now - attached_since_ns_ < gil::checkpoint_interval_ns) return;
    attached_since_ns_ = now;
    if (!gil::checkpoint()) errors::report_unraisable("a worker thread of loomy", nullptr);
}

void python_env::leave() {
    if (gil::is_detached_here()) return;
    context.forget_idle();
    Py_CLEAR(target_);
    gil::detach_after_work();
}

// Lent and not copied: the counts of a function that several threads call are on one cache line.
PyObject* python_env::take_target(const python_pool& home, const frame& where) {
    if (!gil::is_free_threaded || !where.own_thread || target_ == nullptr) return home.target();
    return std::exchange(target_, nullptr);
}

void python_env::give_back_target(PyObject* target, const frame& where) {
    if (gil::is_free_threaded && where.own_thread && target_ == nullptr) {
        target_ = target;
    } else {
        Py_XDECREF(target);
    }
}

python_env& python_env::of_callers() noexcept {
    static thread_local python_env mine;
    return mine;
}

bool worker_thread_env::ready(slot& self) {
    if (home_.kind == pool_kind::workers) return worker != nullptr || make_worker(self);
    return home_.kind != pool_kind::executor || initialized_ || initialize();
}

// Calls an executor's initializer. One that raises breaks the executor.
bool worker_thread_env::initialize() {
    if (!home_.has_target) return initialized_ = true;
    const gil::attached scope;
    if (!scope) return false;
    PyObject* const initializer = home_.target();
    PyObject* const nothing = initializer != nullptr ? PyObject_CallNoArgs(initializer) : Py_NewRef(Py_None);
    Py_XDECREF(initializer);
    if (nothing != nullptr) {
        Py_DECREF(nothing);
        return initialized_ = true;
    }
    PyObject* const error = errors::take_raised();
    home_.broken.store(true, std::memory_order_seq_cst);
    PyObject* const report = borrowed_class("loomy._reports", "initializer_failed");
    PyObject* const told = report != nullptr ? PyObject_CallOneArg(report, error) : nullptr;
    if (told == nullptr) errors::report_unraisable("initializer of an executor", nullptr);
    Py_XDECREF(told);
    Py_DECREF(error);
    home_.core->discard();
    return false;
}

bool worker_thread_env::make_worker(slot& self) {
    const gil::attached scope;
    PyObject* const factory = scope ? home_.target() : nullptr;
    if (factory == nullptr) return false;
    PyObject* const base = borrowed_class("loomy.worker", "Worker");
    PyObject* made = base != nullptr ? PyObject_CallNoArgs(factory) : nullptr;
    Py_DECREF(factory);
    PyObject* process = nullptr;
    if (made != nullptr) {
        process = PyObject_GetAttrString(made, "process");
        if (process == nullptr && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Format(
                PyExc_TypeError,
                "the factory of pool %R returned a %.100s, which has no process(ctx, payload) method; "
                "return a loomy.Worker",
                home_.name, Py_TYPE(made)->tp_name);
        }
    }
    PyObject* const until_ready =
        process != nullptr ? overridden_method(made, base, "block_until_ready") : nullptr;
    const bool looked = process != nullptr && PyErr_Occurred() == nullptr;
    PyObject* const on_interrupt = looked ? overridden_method(made, base, "interrupt") : nullptr;
    if (!looked || PyErr_Occurred() != nullptr) {
        PyObject* const error = errors::take_raised();
        Py_XDECREF(made);
        Py_XDECREF(process);
        Py_XDECREF(until_ready);
        Py_XDECREF(on_interrupt);
        home_.set_factory_error(error);
        return false;
    }
    worker = made;
    process_method = process;
    ready_method = until_ready;
    interrupt_method = on_interrupt;
    self.user = this;
    return true;
}

void worker_thread_env::retire(slot& self) {
    self.user = nullptr;
    if (worker == nullptr) return;
    const gil::attached scope;
    if (!scope) return;
    // Worker gives every subclass a terminate that does nothing; other objects may do without.
    if (PyObject_HasAttrString(worker, "terminate") != 0) {
        PyObject* const nothing = PyObject_CallMethod(worker, "terminate", nullptr);
        if (nothing == nullptr) errors::report_unraisable("terminate() of a worker", worker);
        Py_XDECREF(nothing);
    }
    Py_CLEAR(process_method);
    Py_CLEAR(ready_method);
    Py_CLEAR(interrupt_method);
    Py_CLEAR(worker);
}

} // namespace loomy::py
