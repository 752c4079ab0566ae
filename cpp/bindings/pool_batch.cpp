#include <new>
#include <optional>

#include "arguments.hpp"
#include "async_result.hpp"
#include "batch_submission.hpp"
#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "invoke.hpp"
#include "pool_object.hpp"
#include "python_batch.hpp"
#include "python_env.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

const argument_names& batch_arguments() {
    static const argument_names names{"payloads", "timeout", "ctx"};
    return names;
}

PyObject* empty_result() {
    PyObject* const type = borrowed_class("loomy.batch", "BatchResult");
    PyObject* const list = type != nullptr ? PyList_New(0) : nullptr;
    if (list == nullptr) return nullptr;
    PyObject* const arguments[] = {list, Py_None};
    PyObject* const result = PyObject_Vectorcall(type, arguments, 2, nullptr);
    Py_DECREF(list);
    return result;
}

std::optional<batch_items> take_items(PyObject* payloads) {
    if (Py_TYPE(payloads)->tp_iter == nullptr && PySequence_Check(payloads) == 0) {
        PyErr_Format(PyExc_TypeError, "a batch takes an iterable of payloads, not %.100s",
                     Py_TYPE(payloads)->tp_name);
        return std::nullopt;
    }
    batch_items items;
    if (!items.fill(payloads)) return std::nullopt;
    return items;
}

// With the caller's help where it may: on the slot it has already, or on a free one.
int run_with_caller(python_pool& home, python_batch& whole) {
    pool& core = *home.core;
    if (home.any_affinity) {
        if (frame* const on = frame::of(core)) {
            if (submit_batch(home, whole, {}) < 0) return -1;
            frame nested(core, on->where, on->env, false);
            core.take_part(whole, nested);
            return 0;
        }
        // The slot first: afterwards the workers might have them all.
        if (slot* const borrowed = core.try_borrow_to_share()) {
            int done = 0;
            if (core.size() == 1) { // nobody else to share it with
                done = run_whole_here(home, whole, *borrowed);
            } else {
                done = submit_batch(home, whole, {});
                if (done == 0) {
                    frame here(core, *borrowed, python_env::of_callers(), false);
                    core.take_part(whole, here);
                }
            }
            core.give_back(*borrowed);
            return done;
        }
    }
    return submit_batch(home, whole, {});
}

struct batch_listener : listener {
    async_result* answer; // held by a hold of its job
};

// The batch has ended, or was abandoned: its AsyncResult gets its answer.
void answer_batch(listener& node) {
    auto* const self = static_cast<batch_listener*>(&node);
    const gil::attached scope;
    if (!scope) return;
    python_job& job = self->answer->job;
    delete self;
    if (!job.finished()) {
        PyObject* result = job.batch->collect(job.batch->state());
        if (result == nullptr) {
            job.put(errors::take_raised(), true);
        } else {
            job.put(result, false);
        }
    }
    if (job.limits) job.limits->stop();
    if (job.publish().disposable) job.dispose();
}

PyObject* process_batch_async(python_pool& home, batch_items items, const call_limits& limits) {
    ref<python_batch> whole = make_batch(home, std::move(items), limits);
    if (!whole) return nullptr;
    async_result* const answer = make_batch_result(home, whole);
    auto* const node = answer != nullptr ? new (std::nothrow) batch_listener{} : nullptr;
    if (node == nullptr) {
        if (answer != nullptr) {
            (void)answer->job.drop_hold();
            Py_DECREF(reinterpret_cast<PyObject*>(answer));
        }
        return PyErr_NoMemory();
    }
    if (limits.given()) {
        answer->job.limits.reset(new (std::nothrow) job_limits(answer->job, limits.token,
                                                               limits.deadline_is_context, limits.context));
    }
    node->call = &answer_batch;
    node->answer = answer;
    (void)whole->listen(*node);
    const cancel_reason over = limits.over();
    const auto end = [&](cancel_reason why) { (void)home.core->abandon(*whole, phase_for(why)); };
    if (whole->size() == 0) {
        answer->job.put(empty_result(), false);
        (void)whole->stop_listening(*node);
        delete node;
        (void)answer->job.publish();
    } else if (over != cancel_reason::none) {
        end_unsubmitted(home, *whole, over);
    } else if (submit_batch(home, *whole, limits) < 0) {
        if (whole->stop_listening(*node)) {
            delete node;
            (void)answer->job.drop_hold();
        }
        Py_DECREF(reinterpret_cast<PyObject*>(answer));
        return nullptr;
    } else if (answer->job.limits && !answer->job.finished()) {
        try {
            if (!answer->job.limits->start(true)) end(limits.token->check());
        } catch (const std::exception& error) {
            end(cancel_reason::cancelled);
            Py_DECREF(reinterpret_cast<PyObject*>(answer));
            PyErr_Format(PyExc_RuntimeError, "the deadline of a batch cannot be watched: %s", error.what());
            return nullptr;
        }
    }
    return reinterpret_cast<PyObject*>(answer);
}

// Waits for a batch the caller has no AsyncResult of. Null with an error set after Ctrl-C.
PyObject* wait_and_collect(python_pool& home, python_batch& whole) {
    const int woken =
        gil::wait_detached(deadline::never(), [&](deadline slice) { return home.core->wait(whole, slice); });
    if (woken > 0) return whole.collect(whole.state());
    PyObject* const raised = errors::take_raised();
    (void)home.core->abandon(whole, phase::cancelled);
    errors::put_back(raised);
    return nullptr;
}

std::optional<batch_items> parse(const char* function, PyObject* self, PyObject* const* args,
                                 Py_ssize_t count, PyObject* names, python_pool** home, call_limits& limits) {
    *home = pool_of(self);
    PyObject* given[3] = {nullptr, nullptr, nullptr};
    if (*home == nullptr || !batch_arguments().parse(function, args, count, names, 1, 1, given) ||
        !limits.parse(given[1], given[2])) {
        return std::nullopt;
    }
    deferred::drain();
    if ((*home)->core->closed()) {
        raise_not_running(**home);
        return std::nullopt;
    }
    return take_items(given[0]);
}

} // namespace

bool end_batch_result(python_job& answer, phase as) {
    if (answer.abandon(as) == job::abandoned::no) return false;
    (void)answer.home->core->abandon(*answer.batch, as);
    if ((answer.word() & (job::waiting | job::calling)) != 0) answer.tell_listeners();
    if (answer.drop_hold()) answer.dispose();
    return true;
}

PyObject* pool_process_batch(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    python_pool* home = nullptr;
    call_limits limits;
    std::optional<batch_items> items = parse("process_batch", self, args, count, names, &home, limits);
    if (!items) return nullptr;
    if (items->size() == 0) return empty_result();
    if (limits.given()) {
        // Somebody must be able to end it while it runs, so the caller only waits.
        PyObject* const answer = process_batch_async(*home, std::move(*items), limits);
        if (answer == nullptr) return nullptr;
        auto* const result = reinterpret_cast<async_result*>(answer);
        const int woken = wait_for(result, deadline::never());
        PyObject* value = nullptr;
        if (woken > 0) {
            value = result->job.answer();
        } else {
            PyObject* const raised = errors::take_raised();
            (void)end_batch_result(result->job, phase::cancelled);
            errors::put_back(raised);
        }
        Py_DECREF(answer);
        return value;
    }
    const ref<python_batch> whole = make_batch(*home, std::move(*items), limits);
    if (!whole || run_with_caller(*home, *whole) < 0) return nullptr;
    if (PyObject* const interrupted = whole->take_interrupt()) {
        errors::raise(interrupted);
        Py_DECREF(interrupted);
        return nullptr;
    }
    if (whole->finished()) return whole->collect(whole->state());
    return wait_and_collect(*home, *whole);
}

PyObject* pool_process_batch_async(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    python_pool* home = nullptr;
    call_limits limits;
    std::optional<batch_items> items = parse("process_batch_async", self, args, count, names, &home, limits);
    return items ? process_batch_async(*home, std::move(*items), limits) : nullptr;
}

} // namespace loomy::py
