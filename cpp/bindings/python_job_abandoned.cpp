#include <string>
#include <utility>

#include "async_result.hpp"
#include "bound_call.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "invoke.hpp"
#include "pool_object.hpp"
#include "python_job.hpp"
#include "standard_library.hpp"

// A job that was cancelled, ran out of time or was refused: what becomes of what it held, who is told, and
// its error.
namespace loomy::py {
namespace {

PyObject* no_worker_error(const python_pool& home) {
    PyObject* const cause = home.factory_error();
    PyObject* const error = errors::make(
        errors::worker_closed(), cause,
        "no worker of pool '%U' could be made to run the job: its factory raised; see __cause__", home.name);
    Py_XDECREF(cause);
    return error;
}

} // namespace

void python_job::on_abandoned(phase as, bool was_running) {
    if (batch) return;
    const gil::attached scope;
    if (!scope) return;
    if (was_running) {
        abandon_running(as);
    } else {
        abandon_queued(as);
    }
}

void python_job::abandon_running(phase as) {
    cancel_running(as == phase::timed_out ? cancel_reason::deadline_exceeded : cancel_reason::cancelled);
    // A reference of its own: with the GIL its runner may let go of it meanwhile.
    tell_hooks_of_abandoned(as, Py_XNewRef(payload_), seconds_of_run());
    let_go_of_payload_second();
}

// It will never run: what it held dies now.
void python_job::abandon_queued(phase as) {
    if (limits) limits->stop();
    PyObject* const payload = std::exchange(payload_, nullptr);
    snapshot_ = context_snapshot();
    if (as == phase::refused && !home->core->closed()) {
        PyObject* const error = no_worker_error(*home);
        if (error != nullptr) {
            const listener_lock guard(this); // it may be asked for already
            put(error, true);
        }
        PyErr_Clear();
    }
    tell_hooks_of_abandoned(as, payload, 0.0);
}

// Steals the payload. Null: it ended without hooks, and they were set only now.
void python_job::tell_hooks_of_abandoned(phase as, PyObject* payload, double seconds) {
    PyObject* const table = payload != nullptr && home->has_job_hooks() ? home->hooks() : nullptr;
    if (table != nullptr) show_to_hooks(payload);
    PyObject* const error = table != nullptr ? abandoned_error(as) : nullptr;
    if (error != nullptr) {
        const hook_scope inside(*home);
        tell_job_error(table, payload, error, seconds);
        Py_DECREF(error);
    }
    Py_XDECREF(table);
    PyErr_Clear();
    Py_XDECREF(payload);
}

// What on_abandoned has put, if anything yet: a new reference, or null.
PyObject* python_job::refusal() {
    PyObject* put_already = nullptr;
    {
        const listener_lock guard(this);
        put_already = Py_XNewRef(outcome_);
    }
    if (gil::is_free_threaded && put_already != nullptr) track_if_cyclic(*this, put_already);
    return put_already;
}

PyObject* python_job::abandoned_error(phase as) {
    switch (as) {
        case phase::timed_out:
            if (limits && limits->deadline_is_context) {
                return errors::make(
                    errors::deadline_exceeded(), nullptr,
                    "the deadline of the job's context passed before the job in pool '%U' had ended; "
                    "give it more time, or make the job check its context more often",
                    home->name);
            }
            return errors::make(
                errors::job_timed_out(), nullptr,
                "the timeout passed before the job in pool '%U' had ended; raise the timeout, or give "
                "the pool more workers",
                home->name);
        case phase::refused:
            if (PyObject* const error = refusal()) return error;
            if (home->broken.load(std::memory_order_relaxed)) return broken_error();
            if (!home->core->closed())
                return no_worker_error(*home); // asked for before on_abandoned has put it
            return errors::make(
                errors::pool_not_running(), nullptr,
                "pool '%U' was closed before the job started; use shutdown() to let queued jobs finish",
                home->name);
        default: {
            if (home->kind == pool_kind::executor) return standard_cancelled_error();
            const std::string why = limits ? limits->token->detail() : std::string();
            return errors::make(errors::job_cancelled(), nullptr,
                                "the job in pool '%U' was cancelled, by its caller or by its context%s%s",
                                home->name, why.empty() ? "" : ": ", why.c_str());
        }
    }
}

} // namespace loomy::py
