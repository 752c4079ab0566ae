#include "kernel_launch.hpp"

#include <new>
#include <optional>

#include "arguments.hpp"
#include "default_pool.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "kernel_errors.hpp"
#include "kernel_submit.hpp"
#include "pool_object.hpp"
#include "python_env.hpp"
#include "running_call.hpp"

namespace loomy::py {

namespace {

// Whether the scheduler still points at it, though submitting it failed.
bool is_in_flight(const python_launch& what) noexcept {
    return job::has_holds(what.word());
}

// Options.

bool count_from(PyObject* value, const char* name, std::int64_t least, std::optional<std::int64_t>& into) {
    if (value == nullptr || value == Py_None) return true;
    PyObject* const number = PyNumber_Index(value);
    if (number == nullptr) {
        PyErr_Format(PyExc_TypeError, "%s must be an int or None, not %.100s", name, Py_TYPE(value)->tp_name);
        return false;
    }
    int overflow = 0;
    into = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow == 0 && *into >= least && *into <= partition::most_items) return true;
    PyErr_Format(PyExc_ValueError, "%s must be between %lld and %lld, not %R", name,
                 static_cast<long long>(least), static_cast<long long>(partition::most_items), value);
    return false;
}

// Everything is checked here, before anything is started. Null with an error set.
job_handle<python_launch> make_launch(python_pool& home, kernel_object& kernel, PyObject* const* args,
                                      std::size_t count, const launch_options& options, launch::ends how) {
    std::optional<std::int64_t> n, chunks, grain;
    if (!count_from(options.n, "n", 0, n) || !count_from(options.chunks, "chunks", 1, chunks) ||
        !count_from(options.grain, "grain", 0, grain)) {
        return {};
    }
    if (count > kernel_signature::most_parameters) {
        PyErr_Format(PyExc_TypeError, "a kernel takes %zu arguments at most, got %zu",
                     kernel_signature::most_parameters, count);
        return {};
    }
    ref<kernel_arguments> held =
        kernel_arguments::take(kernel, args, static_cast<std::uint32_t>(count), n ? &*n : nullptr);
    if (!held) return {};
    const kernel_facts& facts = *kernel.facts;
    launch_request what;
    what.kernel = facts.kernel;
    what.args = held->buffers();
    what.nargs = held->count();
    what.total = held->total();
    what.chunks = chunks.value_or(0);
    what.grain = grain.value_or(0) != 0 ? *grain : facts.grain;
    what.user_data = facts.user_data;
    what.cost = &facts.cost;
    try {
        return job_handle<python_launch>(new python_launch(*home.core, what, how, held));
    } catch (const std::bad_alloc&) {
        held->done_with();
        PyErr_NoMemory();
        return {};
    }
}

// The answer of a launch that has ended: None, or null with its error set.
PyObject* outcome_here(python_launch& what, const kernel_object& kernel, const python_pool& home,
                       const call_limits& limits) {
    what.arguments().let_go_if_done();
    const launch_outcome end = what.outcome();
    if (end.as == phase::done && end.code == LOOMY_OK) Py_RETURN_NONE;
    PyObject* const error = end.as == phase::done
                                ? launch_error(what, kernel.name, home.name, asked_by::participant)
                                : launch_abandoned(end.as, kernel, home, limits);
    if (error != nullptr) {
        errors::put_back(error);
    }
    return nullptr;
}

// Ctrl-C, or what another signal's handler raised, while the caller waits: the launch is stopped, and nobody
// writes into the arrays any more when it is raised. A second one does not wait for chunks that do not look.
PyObject* stop_and_wait(python_launch& what) {
    pool& home = what.home();
    PyObject* const raised = errors::take_raised();
    (void)home.stop(what, phase::cancelled);
    const int ended =
        gil::wait_detached(deadline::never(), [&](deadline slice) { return home.wait(what, slice); });
    if (ended > 0) {
        what.arguments().let_go_if_done();
        errors::raise(raised);
    } // else that error is set; the launch goes on with what it holds, and ends some time
    Py_DECREF(raised);
    return nullptr;
}

} // namespace

PyObject* call_kernel(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names) {
    static const argument_names expected{"n", "chunks", "grain"};
    PyObject* given[3] = {nullptr, nullptr, nullptr};
    const auto positional = static_cast<std::size_t>(PyVectorcall_NARGS(count));
    if (names != nullptr && !expected.parse("a kernel", args + positional, 0, names, 0, 0, given))
        return nullptr;
    auto& kernel = *reinterpret_cast<kernel_object*>(self);
    deferred::drain();
    python_pool* const known = default_pool();
    if (known == nullptr) {
        if (PyErr_Occurred() == nullptr) {
            PyErr_SetString(errors::pool_not_running(),
                            "there is no default pool any more: the interpreter is going away");
        }
        return nullptr;
    }
    const ref<python_pool> home = ref<python_pool>::share(known);
    call_limits limits; // inside a job, those of the job
    if (running_call* const call = running_call::current())
        limits.token = ref<cancel_token>::share(call->token());
    const job_handle<python_launch> made = make_launch(
        *home, kernel, args, positional, {given[0], given[1], given[2]}, launch::ends::with_its_chunks);
    if (!made) return nullptr;
    if (!submit_launch(*home, *made, kernel, limits, launch_how::with_this_thread)) {
        if (is_in_flight(*made)) return stop_and_wait(*made);
        made->arguments().done_with();
        return nullptr;
    }
    if (!made->finished()) {
        pool& core = *home->core;
        const int woken =
            gil::wait_detached(deadline::never(), [&](deadline slice) { return core.wait(*made, slice); });
        if (woken < 0) return stop_and_wait(*made);
    }
    return outcome_here(*made, kernel, *home, limits);
}

PyObject* pool_launch(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    static const argument_names expected{"n", "chunks", "grain", "ctx", "timeout"};
    python_pool* const home = pool_of(self);
    if (home == nullptr) return nullptr;
    PyObject* given[5] = {nullptr, nullptr, nullptr, nullptr, nullptr};
    call_limits limits;
    if (count == 0) {
        PyErr_SetString(PyExc_TypeError, "launch() takes a kernel and its arguments");
        return nullptr;
    }
    kernel_object* const kernel = as_kernel(args[0]);
    if (kernel == nullptr ||
        (names != nullptr && !expected.parse("launch", args + count, 0, names, 0, 0, given)) ||
        !limits.parse(given[4], given[3])) {
        return nullptr;
    }
    deferred::drain();
    if (home->core->closed()) return raise_not_running(*home);
    job_handle<python_launch> made =
        make_launch(*home, *kernel, args + 1, static_cast<std::size_t>(count - 1),
                    {given[0], given[1], given[2]}, launch::ends::when_asked);
    if (!made) return nullptr;
    python_launch& what = *made;
    const ref<kernel_arguments> held = ref<kernel_arguments>::share(&what.arguments());
    async_result* const answer = make_launch_result(*home, args[0], std::move(made));
    if (answer == nullptr) {
        held->done_with();
        return nullptr;
    }
    if (limits.given()) {
        answer->job.limits.reset(new (std::nothrow) job_limits(answer->job, limits.token,
                                                               limits.deadline_is_context, limits.context));
    }
    what.ends_answer(*answer);
    if ((limits.given() && !answer->job.limits && PyErr_NoMemory() == nullptr) ||
        !submit_launch(*home, what, *kernel, limits, launch_how::queued)) {
        if (!is_in_flight(what)) {
            what.forget_answer();
            held->done_with();
        }
        answer->job.note_error_was_seen();
        Py_DECREF(reinterpret_cast<PyObject*>(answer));
        return nullptr;
    }
    return reinterpret_cast<PyObject*>(answer);
}

} // namespace loomy::py
