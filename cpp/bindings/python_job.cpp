#include "python_job.hpp"

#include <optional>
#include <string>

#include "async_result.hpp"
#include "bound_call.hpp"
#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "hidden_surroundings.hpp"
#include "invoke.hpp"
#include "kernel_launch.hpp"
#include "pool_object.hpp"
#include "python_batch.hpp"
#include "python_env.hpp"
#include "running_call.hpp"

namespace loomy::py {

job_limits::job_limits(python_job& job, ref<cancel_token> token_, bool deadline_is_context_,
                       PyObject* context_) noexcept
    : token(std::move(token_)),
      deadline_is_context(deadline_is_context_),
      context(Py_XNewRef(context_)),
      job_(job) {}

job_limits::~job_limits() {
    Py_XDECREF(context);
}

bool job_limits::start(bool timer) {
    job_.add_hold(); // the callback's
    bool added = false;
    try {
        added = token->add(*this, timer ? cancel_token::watch::yes : cancel_token::watch::no);
    } catch (...) {
        (void)job_.drop_hold(); // the owner is here
        throw;
    }
    if (!added) {
        (void)job_.drop_hold();
        return false;
    }
    watch expected = watch::not_yet;
    if (!watch_.compare_exchange_strong(expected, watch::on, std::memory_order_acq_rel)) {
        // The job has ended already, and could not stop what had not begun.
        if (token->remove(*this)) (void)job_.drop_hold();
    }
    return true;
}

void job_limits::stop() noexcept {
    if (watch_.exchange(watch::off, std::memory_order_acq_rel) != watch::on) return;
    // Taken for firing: then `fired` drops the hold itself.
    if (token->remove(*this)) (void)job_.drop_hold(); // never the last: our caller has one
}

void job_limits::fired(cancel_reason reason) {
    const gil::attached scope; // what the job held is dropped, and hooks are called
    if (!scope) return;
    python_job& job = job_;
    const phase as = phase_for(reason);
    if (job.batch) {
        (void)job.home->core->abandon(*job.batch, as);
    } else {
        (void)job.home->core->abandon(job, as);
    }
    if (job.drop_hold()) job.dispose();
}

python_job::python_job(ref<python_pool> home_, PyObject* payload, context_snapshot snapshot) noexcept
    : home(std::move(home_)), payload_(Py_NewRef(payload)), snapshot_(std::move(snapshot)) {
    reset_word(one_hold);
}

python_job::python_job(ref<python_pool> home_, ref<python_batch> of) noexcept
    : home(std::move(home_)), batch(std::move(of)) {
    // Running from the start, so that nobody claims it; held by the batch until that has ended.
    reset_word(static_cast<std::uint32_t>(phase::running) + one_hold);
}

python_job::~python_job() {
    Py_XDECREF(payload_);
    Py_XDECREF(outcome_);
}

bool python_job::run(frame& where) {
    gil::ensure_attached();
    std::optional<gil::nested_call> deeper;
    if (where.outer != nullptr) deeper.emplace();
    hidden_surroundings around;
    if (!where.own_thread) around.hide();
    PyObject* const payload = payload_; // ours until the end: who abandons a running job leaves it to us
    python_env& env = static_cast<python_env&>(where.env);
    PyObject* const target = env.take_target(*home, where);
    lent_context& lent = env.context;
    PyObject *result = nullptr, *failure = nullptr;
    end_if_over(); // who gives it up may be on the way here, with others of the same context to see to first
    ending end = is_final(state()) ? ending::abandoned : ending::open;
    if (end == ending::open) {
        running_call call(*home, where, this, limits ? limits->token.get() : nullptr,
                          limits && limits->context != nullptr ? context_values(limits->context) : nullptr);
        if (target == nullptr && home->kind != pool_kind::executor) {
            PyErr_SetString(errors::pool_not_running(), "the pool was collected before the job started");
        } else if (!snapshot_ || lent.enter(snapshot_)) {
            PyObject* const table = home->has_job_hooks() ? home->hooks() : nullptr;
            result = table != nullptr ? run_with_hooks(where, table, target, payload, failure, end)
                                      : call_target(*home, target, where, call, payload);
            Py_XDECREF(table);
            if (table == nullptr) end_if_over();
            if (result == nullptr && end == ending::open) failure = job_failure(*home, where);
            if (snapshot_) lent.leave();
        }
        if (result == nullptr && PyErr_Occurred() != nullptr) failure = job_failure(*home, where);
    }
    if (end == ending::open) {
        // With the GIL whoever looks at the payload takes a reference before we can let go of ours.
        const bool stands = gil::is_free_threaded ? settle() : !is_final(state());
        if (!stands) end = ending::abandoned;
    }
    const bool succeeded = result != nullptr;
    if (end != ending::abandoned && !is_final(state())) {
        put(succeeded ? result : failure, !succeeded);
    } else {
        Py_XDECREF(succeeded ? result : failure); // nobody will ask for it
    }
    if (limits) limits->stop();
    lent.take_back(snapshot_);
    env.give_back_target(target, where);
    if (end == ending::abandoned) {
        let_go_of_payload_second();
    } else {
        Py_DECREF(std::exchange(payload_, nullptr));
    }
    around.restore();
    return succeeded;
}

// Of the two that have to do with the payload of a job abandoned while it ran, the one who ran it and the one
// who shows it to a hook, the second lets go of it.
void python_job::let_go_of_payload_second() {
    PyObject* ended = nullptr;
    {
        const listener_lock guard(this);
        if (std::exchange(payload_has_one_left_, true)) ended = std::exchange(payload_, nullptr);
    }
    Py_XDECREF(ended);
}

// A job that begins or returns when its limits have ended it is over, even if nobody has said so yet: one
// that returns because its deadline passed would race the caller who gives up for the same reason.
void python_job::end_if_over() {
    if (!limits) return;
    PyObject* const raised = errors::take_raised();
    const cancel_reason over = limits->token->check();
    if (over != cancel_reason::none) (void)home->core->abandon(*this, phase_for(over));
    errors::put_back(raised);
}

// Calls the function between its hooks: a result or a `failure`, or neither if it was abandoned meanwhile.
PyObject* python_job::run_with_hooks(frame& where, PyObject* table, PyObject* target, PyObject* payload,
                                     PyObject*& failure, ending& end) {
    const hook_scope inside(*home);
    running_call& call = *running_call::current();
    show_to_hooks(payload);
    python_pool::call_hook(table, job_start, &payload, 1);
    const std::int64_t start = now_ns();
    note_run_began(start);
    PyObject* result = call_target(*home, target, where, call, payload);
    const double seconds = static_cast<double>(now_ns() - start) * 1e-9;
    if (result == nullptr) failure = job_failure(*home, where);
    end_if_over();
    end = settle() ? ending::stands : ending::abandoned;
    if (end == ending::abandoned) {
        Py_XDECREF(result);
        Py_CLEAR(failure);
        return nullptr;
    }
    if (failure != nullptr) {
        tell_job_error(table, payload, failure, seconds);
    } else {
        tell_job_complete(table, payload, result, seconds);
    }
    return result;
}

// The wait in the queue has been measured; from now on it is the run that counts. Who abandons the job may be
// reading it.
void python_job::note_run_began(std::int64_t at_ns) noexcept {
    std::atomic_ref<std::int64_t>(enqueued_ns).store(at_ns, std::memory_order_relaxed);
}
double python_job::seconds_of_run() noexcept {
    const std::int64_t began = std::atomic_ref<std::int64_t>(enqueued_ns).load(std::memory_order_relaxed);
    return began != 0 ? static_cast<double>(now_ns() - began) * 1e-9 : 0.0; // 0: it has not got so far
}

bool python_job::lend_token(cancel_token* token) noexcept {
    const listener_lock guard(this);
    token_ = token;
    return (word() & stopping) != 0;
}

void python_job::cancel_running(cancel_reason reason) {
    ref<cancel_token> token;
    {
        const listener_lock guard(this);
        token = ref<cancel_token>::share(token_);
    }
    if (token) token->cancel(reason);
}

void python_job::put(PyObject* outcome, bool failed) noexcept {
    outcome_ = outcome;
    failed_.store(failed, std::memory_order_relaxed);
    if constexpr (!gil::is_free_threaded) track_if_cyclic(*this, outcome);
}

PyObject* python_job::answer() {
    const phase as = state();
    if (started) look_at_launch();
    if (gil::is_free_threaded && as == phase::done) track_if_cyclic(*this, outcome_);
    if (as == phase::done && !failed()) return Py_NewRef(outcome_);
    note_error_was_seen();
    PyObject* const exception = as == phase::done ? Py_NewRef(outcome_) : abandoned_error(as);
    if (exception != nullptr) {
        errors::raise(exception);
        Py_DECREF(exception);
    }
    return nullptr;
}

PyObject* python_job::error() {
    const phase as = state();
    note_error_was_seen();
    if (started) look_at_launch();
    if (as != phase::done) return abandoned_error(as);
    return Py_NewRef(failed() ? outcome_ : Py_None);
}

int python_job::traverse(visitproc visit, void* arg) const {
    Py_VISIT(payload_);
    Py_VISIT(outcome_);
    return 0;
}

void python_job::dispose() {
    if (gil::is_attached_here()) {
        free_async_result(*this);
    } else {
        deferred::push(*this);
    }
}

} // namespace loomy::py
