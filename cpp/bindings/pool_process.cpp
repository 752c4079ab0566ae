#include <new>
#include <optional>

#include "arguments.hpp"
#include "async_result.hpp"
#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "hidden_surroundings.hpp"
#include "invoke.hpp"
#include "loomy/base/clock.hpp"
#include "pool_object.hpp"
#include "python_env.hpp"
#include "python_module.hpp"
#include "running_call.hpp"
#include "submission.hpp"
#include "timeout.hpp"
#include "wait_watch.hpp"

namespace loomy::py {
namespace {

// payload, timeout and ctx, as all the calls that take one job do.
const argument_names& job_arguments() {
    static const argument_names names{"payload", "timeout", "ctx"};
    return names;
}

bool check_payload(const python_pool& home, PyObject* payload) {
    if (home.kind != pool_kind::callbacks || PyCallable_Check(payload) != 0) return true;
    PyErr_Format(errors::job_not_callable(),
                 "pool '%U' runs callbacks: pass a callable without arguments (functools.partial binds "
                 "them), not %.100s",
                 home.name, Py_TYPE(payload)->tp_name);
    return false;
}

// Runs one job on this thread and on that slot, without a job object. New reference or null with the error
// set.
PyObject* call_here(python_pool& home, frame& here, PyObject* payload) {
    slot_stats& stats = here.where.stats;
    home.core->count_submitted(1);
    stats.started.add();
    stats.inlined.add();
    hidden_surroundings around;
    around.hide();
    PyObject* const context = copy_context(home);
    PyObject* const target = home.target();
    PyObject* const table = home.has_job_hooks() ? home.hooks() : nullptr;
    const bool timed = table != nullptr || stats.should_time();
    PyObject* result = nullptr;
    PyObject* failure = nullptr;
    bool interrupted = false;
    {
        running_call call(home, here, nullptr, nullptr, nullptr);
        if (context != nullptr && PyContext_Enter(context) != 0) PyErr_Clear();
        if (table != nullptr) python_pool::call_hook(table, job_start, &payload, 1);
        const std::int64_t start = timed ? now_ns() : 0;
        result = call_target(home, target, here, call, payload);
        const std::int64_t took = timed ? now_ns() - start : 0;
        if (timed) stats.record_run(took);
        if (result == nullptr) {
            interrupted = is_interrupt_of_this_thread();
            failure = interrupted ? errors::take_raised() : job_failure(home, here);
        }
        if (table != nullptr) {
            const hook_scope inside(home);
            const double seconds = static_cast<double>(took) * 1e-9;
            if (failure != nullptr) {
                tell_job_error(table, payload, failure, seconds);
            } else {
                tell_job_complete(table, payload, result, seconds);
            }
        }
        if (context != nullptr && PyContext_Exit(context) != 0) PyErr_Clear();
    }
    (failure == nullptr ? stats.completed : stats.failed).add();
    stats.finished.add();
    around.restore();
    if (failure != nullptr) {
        errors::put_back(failure);
    }
    Py_XDECREF(table);
    Py_XDECREF(target);
    Py_XDECREF(context);
    return result;
}

async_result* make(python_pool& home, PyObject* payload, const call_limits& limits) {
    context_snapshot snapshot = home.copy_context ? context_snapshot::take() : context_snapshot();
    if (!snapshot && home.copy_context) return nullptr;
    async_result* const made = make_async_result(home, payload, std::move(snapshot));
    if (made == nullptr || !limits.given()) return made;
    made->job.limits.reset(
        new (std::nothrow) job_limits(made->job, limits.token, limits.deadline_is_context, limits.context));
    if (made->job.limits) return made;
    discard(made);
    PyErr_NoMemory();
    return nullptr;
}

// Begins to watch the limits of a submitted job. Throws what job_limits::start throws.
void start_limits(python_pool& home, async_result* made, bool timer) {
    if (!made->job.limits || made->job.finished() || made->job.limits->start(timer)) return;
    (void)home.core->abandon(made->job, phase_for(made->job.limits->token->check()));
}

// Nobody can watch the deadline (no timer thread, no memory): the job is ended and the caller told.
void give_up(python_pool& home, async_result* made, const std::exception& error) {
    (void)home.core->abandon(made->job, phase::cancelled);
    made->job.note_error_was_seen();
    PyErr_Format(PyExc_RuntimeError, "the deadline of a job cannot be watched: %s", error.what());
}

// A job that is over before it began never gets into the queue.
bool over_already(python_pool& home, async_result* made, const call_limits& limits) {
    const cancel_reason over = limits.over();
    if (over == cancel_reason::none) return false;
    home.core->end_unsubmitted(made->job, phase_for(over));
    return true;
}

async_result* open_and_make(python_pool& home, PyObject* payload, const call_limits& limits) {
    deferred::drain();
    if (home.core->closed()) {
        raise_not_running(home);
        return nullptr;
    }
    return make(home, payload, limits);
}

// The answer of a job that was submitted, and the end of the caller's reference. At the deadline the job is
// ended.
PyObject* wait_for_answer(python_pool& home, async_result* made, int woken) {
    PyObject* answer = nullptr;
    if (woken == 0) {
        (void)home.core->abandon(made->job, phase::timed_out);
        woken = wait_for(made, deadline::never()); // ended now, or just about to publish
    }
    if (woken > 0) {
        answer = made->job.answer();
    } else { // Ctrl-C: nobody will ask for the job's result
        PyObject* const raised = errors::take_raised();
        (void)home.core->abandon(made->job, phase::cancelled);
        made->job.note_error_was_seen();
        errors::put_back(raised);
    }
    Py_DECREF(reinterpret_cast<PyObject*>(made));
    return answer;
}

// process() through the queue. Detached before the job is published, and until its result is: the worker
// finds the GIL free, and so does this thread when it comes back.
PyObject* process_queued(python_pool& home, PyObject* payload, const call_limits& limits) {
    async_result* const made = open_and_make(home, payload, limits);
    if (made == nullptr) return nullptr;
    if (over_already(home, made, limits)) return wait_for_answer(home, made, 1);
    // The waiter watches the deadline itself, unless it may be busy helping with another job when it passes.
    const bool timer = frame::top() != nullptr;
    pool& core = *home.core;
    std::optional<submitted> first;
    int woken = 0;
    try {
        woken = gil::wait_detached(limits.until, [&](deadline slice) {
            if (!first) {
                first = core.submit(made->job);
                if (*first != submitted::accepted) return wait_status::woken;
                start_limits(home, made, timer);
            }
            return core.wait(made->job, slice);
        });
        if (*first == submitted::full) {
            if (submit_result(home, made, limits, false) < 0) {
                discard(made);
                return nullptr;
            }
            start_limits(home, made, timer);
            woken = wait_for(made, limits.until);
        } else if (*first != submitted::accepted) {
            discard(made);
            return *first == submitted::closed ? raise_not_running(home) : raise_no_thread(home);
        }
    } catch (const std::exception& error) {
        if (!first) {
            discard(made);
            return PyErr_NoMemory();
        }
        give_up(home, made, error);
        Py_DECREF(reinterpret_cast<PyObject*>(made));
        return nullptr;
    }
    return wait_for_answer(home, made, woken);
}

} // namespace

PyObject* pool_process(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    PyObject* given[3] = {nullptr, nullptr, nullptr};
    call_limits limits;
    if (count == 1 && names == nullptr) {
        given[0] = args[0];
    } else if (!job_arguments().parse("process", args, count, names, 1, 1, given) ||
               !limits.parse(given[1], given[2])) {
        return nullptr;
    }
    if (!check_payload(*home, given[0])) return nullptr;
    if (!limits.given() && home->any_affinity) {
        // A caller that would only wait runs the job itself: on the slot it has already, or on a free one.
        pool& core = *home->core;
        if (frame* const mine = frame::top(); mine != nullptr) {
            if (frame* const on = frame::of(core); on != nullptr && !core.closed()) {
                frame nested(core, on->where, on->env, false);
                const gil::nested_call deeper;
                return call_here(*home, nested, given[0]);
            }
        }
        if (slot* const borrowed = core.try_borrow()) {
            PyObject* result = nullptr;
            {
                frame here(core, *borrowed, python_env::of_callers(), false);
                result = call_here(*home, here, given[0]);
            }
            core.give_back(*borrowed);
            return result;
        }
    }
    return process_queued(*home, given[0], limits);
}

PyObject* submit_one(python_pool& home, PyObject* payload, const call_limits& limits, bool full_is_none) {
    if (!check_payload(home, payload)) return nullptr;
    async_result* const made = open_and_make(home, payload, limits);
    if (made == nullptr) return nullptr;
    if (over_already(home, made, limits)) return reinterpret_cast<PyObject*>(made);
    const int in = submit_result(home, made, limits, full_is_none);
    if (in <= 0) {
        discard(made);
        if (in < 0) return nullptr;
        home.core->count_rejected();
        Py_RETURN_NONE;
    }
    try {
        start_limits(home, made, true);
    } catch (const std::exception& error) {
        give_up(home, made, error);
        Py_DECREF(reinterpret_cast<PyObject*>(made));
        return nullptr;
    }
    return reinterpret_cast<PyObject*>(made);
}

namespace {

PyObject* process_async(const char* function, PyObject* self, PyObject* const* args, Py_ssize_t count,
                        PyObject* names, bool full_is_none) {
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    PyObject* given[3] = {nullptr, nullptr, nullptr};
    call_limits limits;
    if (count == 1 && names == nullptr) {
        given[0] = args[0];
    } else if (!job_arguments().parse(function, args, count, names, 1, 1, given) ||
               !limits.parse(given[1], given[2])) {
        return nullptr;
    }
    return submit_one(*home, given[0], limits, full_is_none);
}

} // namespace

PyObject* pool_process_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    return process_async("process_async", self, args, count, names, false);
}

PyObject* pool_try_process_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    return process_async("try_process_async", self, args, count, names, true);
}

} // namespace loomy::py
