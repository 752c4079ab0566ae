#include "python_batch.hpp"

#include "context.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "hidden_surroundings.hpp"
#include "invoke.hpp"
#include "loomy/base/clock.hpp"
#include "pool_object.hpp"
#include "python_env.hpp"
#include "python_job.hpp"
#include "python_module.hpp"
#include "running_call.hpp"

namespace loomy::py {
namespace {

// Items between two looks at the clock: a call costs at least 30 ns, so this is a microsecond or more.
constexpr unsigned items_per_look = 32;
// While no worker joins, more often: an item that blocks must not keep the others waiting for long.
constexpr unsigned items_per_look_alone = 16;
constexpr std::int64_t short_item_ns = 500;
constexpr std::int64_t alone_for_ns = 200'000'000;

} // namespace

python_batch::python_batch(ref<python_pool> home_, batch_items items, PyObject* snapshot,
                           ref<cancel_token> token_, PyObject* context)
    : batch(items.size()),
      home(std::move(home_)),
      token(std::move(token_)),
      items_(std::move(items)),
      snapshot_(snapshot),
      context_(Py_XNewRef(context)) {}

python_batch::~python_batch() {
    Py_XDECREF(failures_);
    Py_XDECREF(snapshot_);
    Py_XDECREF(context_);
    Py_XDECREF(interrupt_);
    Py_XDECREF(function_);
}

void python_batch::stream(PyObject* function, bool spread) {
    stream_ = std::make_unique<batch_stream>(size());
    function_ = Py_NewRef(function);
    spread_ = spread;
}

void python_batch::release() const noexcept {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // The references are the owner; the scheduler may still hold it.
    auto* const self = const_cast<python_batch*>(this);
    if (self->drop_owner()) self->dispose();
}

void python_batch::dispose() {
    if (gil::is_attached_here()) {
        delete this;
    } else {
        deferred::push(*this);
    }
}

PyObject* python_batch::new_reference_to_function() const {
    std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
    if constexpr (gil::is_free_threaded) guard.lock();
    return Py_XNewRef(function_); // null: it has ended, and nothing is left to claim
}

// Who has the results may be part of what the function refers to.
void python_batch::ended(frame*) {
    if (!stream_ || !gil::is_attached_here()) return; // else the collector finds it
    PyObject* function = nullptr;
    {
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        function = std::exchange(function_, nullptr);
    }
    PyObject* const saved = errors::take_raised();
    Py_XDECREF(function);
    errors::put_back(saved);
}

int python_batch::traverse(visitproc visit, void* arg) const {
    Py_VISIT(function_);
    Py_VISIT(failures_);
    Py_VISIT(snapshot_);
    Py_VISIT(context_);
    return items_.traverse(visit, arg);
}

// One thread's part in the batch.
struct python_batch::participant {
    frame& where;
    PyObject* target;
    PyObject* hooks;
    running_call& call;
    std::int64_t last_look_ns = 0;
    unsigned since_look = 0;
    unsigned long_turns = 0;
    bool leaves = false;
    bool plain = false;
    bool called = true;               // the item's function was, or is about to be
    interrupts::entry interruption{}; // of the item that runs
};

// With the GIL, more workers help only if the items let go of it. A worker that had to force its way in found
// out that they do not; it would only make the others, and every other thread, wait longer for their turn. So
// it stays away, and those who take part ask for one again a little later.
bool python_batch::joins(frame& where) {
    if (!may_stay_alone() || !where.own_thread || participants_.load(std::memory_order_relaxed) == 0)
        return true;
    const std::int64_t alone_until = alone_until_ns_.load(std::memory_order_relaxed);
    if (alone_until != 0 && now_ns() < alone_until) return false;
    if (!static_cast<python_env&>(where.env).was_forced()) return true;
    alone_until_ns_.store(now_ns() + alone_for_ns, std::memory_order_relaxed);
    return false;
}

// Now and then between two items: lets other threads have their turn, and asks for help again.
void python_batch::look_around(participant& on) {
    const std::int64_t now = now_ns();
    const std::int64_t alone_until = alone_until_ns_.load(std::memory_order_relaxed);
    if (alone_until != 0 && now > alone_until) {
        alone_until_ns_.store(0, std::memory_order_relaxed);
        home->core->invite(*this, 0);
    }
    if (on.last_look_ns != 0 && now - on.last_look_ns <= gil::checkpoint_interval_ns) return;
    if (on.last_look_ns != 0 && !gil::checkpoint()) {
        errors::report_unraisable("a worker thread of loomy", nullptr);
    }
    on.last_look_ns = now_ns();
    // Twice in a row somebody kept the GIL as long as we do: two that take turns are slower than one.
    on.long_turns = on.last_look_ns - now >= gil::forced_wait_ns ? on.long_turns + 1 : 0;
    if (!may_stay_alone() || !on.where.own_thread || on.long_turns < 2) return;
    on.leaves = participants_.fetch_sub(1, std::memory_order_relaxed) > 1; // not if it is the last
    if (!on.leaves) participants_.fetch_add(1, std::memory_order_relaxed);
    if (on.leaves) alone_until_ns_.store(now + alone_for_ns, std::memory_order_relaxed);
}

inline PyObject* python_batch::call_function(PyObject* function, PyObject* payload) const {
    if (spread_) return PyObject_CallObject(function, payload);
    PyObject* const arguments[] = {nullptr, payload};
    return PyObject_Vectorcall(function, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
}

// The common case of run_item: a plain function without hooks, limits or interrupts, and neither a look
// around nor the clock is due.
inline bool python_batch::run_plain_item(participant& on, std::uint64_t index) {
    slot_stats& stats = on.where.where.stats;
    PyObject* const payload = items_.take(index);
    if (payload == nullptr) return skip_item(stats);
    stats.started.add();
    PyObject* const result = call_function(on.target, payload);
    if (result == nullptr || is_final(state()) || !items_.put(index, result))
        return end_item(on, index, payload, result, 0);
    stats.completed.add();
    stats.finished.add();
    Py_DECREF(payload);
    mark(index, batch_stream::outcome::result);
    return true;
}

// False: the batch was abandoned while the item ran, and the item has the batch's answer.
inline bool python_batch::run_item(participant& on, std::uint64_t index) {
    slot_stats& stats = on.where.where.stats;
    const bool timed = on.hooks != nullptr || stats.should_time();
    const bool alone = alone_until_ns_.load(std::memory_order_relaxed) != 0;
    const bool look = (++on.since_look & ((alone ? items_per_look_alone : items_per_look) - 1)) == 0;
    if (on.plain && !timed && !look) return run_plain_item(on, index);
    return run_any_item(on, index, timed, look);
}

// The batch was abandoned and collected after the item had been claimed: it never runs.
bool python_batch::skip_item(slot_stats& stats) noexcept {
    stats.started.add();
    stats.failed.add();
    stats.finished.add();
    return false;
}

PyObject* python_batch::call_item(participant& on, PyObject* payload) {
    if (on.target == nullptr) {
        PyErr_SetString(errors::pool_not_running(), "the pool was collected before the item started");
        return nullptr;
    }
    if (stream_) return call_function(on.target, payload);
    if (home->kind == pool_kind::callbacks && PyCallable_Check(payload) == 0) {
        PyErr_Format(errors::job_not_callable(),
                     "a pool of callbacks takes zero-argument callables, not %.100s",
                     Py_TYPE(payload)->tp_name);
        return nullptr;
    }
    return call_target(*home, on.target, on.where, on.call, payload);
}

bool python_batch::run_any_item(participant& on, std::uint64_t index, bool timed, bool look) {
    slot_stats& stats = on.where.where.stats;
    if (look) look_around(on);
    PyObject* const payload = items_.take(index);
    if (payload == nullptr) return skip_item(stats);
    stats.started.add();
    if (home->core->options().interruptible) {
        // Below us on this slot may wait a job that is being told that it was abandoned, in Python.
        if (!on.where.own_thread) gil::ensure_detached();
        on.where.where.interruption.begin(on.interruption, *this);
        if (!on.where.own_thread) gil::ensure_attached();
        // Abandoned since it was claimed: the interrupt found nothing to interrupt and leaves it to us not to
        // start.
        on.called = !is_final(state());
    }
    if (!on.called) {
        errors::put_back(item_error(state()));
        return end_item(on, index, payload, nullptr, 0);
    }
    if (on.hooks != nullptr) python_pool::call_hook(on.hooks, job_start, &payload, 1);
    const std::int64_t start = timed ? now_ns() : 0;
    PyObject* const result = call_item(on, payload);
    const std::int64_t took = timed ? now_ns() - start : 0;
    if (timed) stats.record_run(took);
    return end_item(on, index, payload, result, took);
}

// One at a time, for an item may take seconds, and then every other one should have a worker of its own; a
// few while they are so short that the claim itself counts, but not of the last ones.
std::uint64_t python_batch::claim_size(const slot_stats& stats) const noexcept {
    return !stream_ && stats.last_run_ns > 0 && stats.last_run_ns < short_item_ns && unclaimed() > 1'000 ? 8
                                                                                                         : 1;
}

std::uint64_t python_batch::take_part(frame& where) {
    if (unclaimed() == 0) return 0;
    gil::ensure_attached();
    hidden_surroundings around;
    if (!where.own_thread) around.hide();
    PyObject* const target = stream_ ? new_reference_to_function() : home->target();
    // One copy for each participant, not for each item.
    PyObject* const context = snapshot_ != nullptr ? PyContext_Copy(snapshot_) : nullptr;
    PyObject* const table = home->has_job_hooks() ? home->hooks() : nullptr;
    if (context != nullptr && PyContext_Enter(context) != 0) PyErr_Clear();
    participants_.fetch_add(1, std::memory_order_relaxed);
    std::uint64_t done = 0;
    const std::uint64_t end = where.end_item;
    {
        // What an executor's map has begun goes on, whatever becomes of the iteration.
        running_call call(*home, where, nullptr, token.get(),
                          context_ != nullptr ? context_values(context_) : nullptr, stream_ ? nullptr : this);
        participant self{where, target, table, call};
        self.plain = table == nullptr && target != nullptr &&
                     (stream_ || home->kind == pool_kind::function) && !home->core->options().interruptible &&
                     !token;
        while (!self.leaves) {
            const range next =
                end == frame::no_end ? claim(claim_size(where.where.stats)) : claim_before(end);
            if (next.empty()) break;
            for (std::uint64_t i = next.begin; i < next.end; ++i, ++done) {
                if (run_item(self, i)) continue;
                where.where.stats.failed.take_back(); // of an abandoned batch: counted there
                home->core->count_abandoned_item(state());
            }
        }
        if (!self.leaves) participants_.fetch_sub(1, std::memory_order_relaxed);
    }
    if (context != nullptr && PyContext_Exit(context) != 0) PyErr_Clear();
    Py_XDECREF(table);
    Py_XDECREF(context);
    Py_XDECREF(target);
    around.restore();
    return done;
}

// After the call; with its error set if `result` is null. Steals both.
bool python_batch::end_item(participant& on, std::uint64_t index, PyObject* payload, PyObject* result,
                            std::int64_t took) {
    slot_stats& stats = on.where.where.stats;
    if (result == nullptr && !on.where.own_thread && is_interrupt_of_this_thread()) {
        // Ctrl-C while the submitter itself takes part: what has not started never will.
        PyObject* const raised = errors::take_raised();
        Py_XSETREF(interrupt_, Py_NewRef(raised));
        (void)home->core->abandon(*this, phase::cancelled);
        errors::put_back(raised);
    }
    PyObject* failure = result == nullptr ? job_failure(*home, on.where) : nullptr;

    bool stands = !is_final(state());
    if (stands && result != nullptr) {
        stands = items_.put(index, Py_NewRef(result));
        if (!stands) Py_DECREF(result); // not the last
    }
    if (stands && failure != nullptr) stands = put_failure(index, failure);
    if (on.hooks != nullptr) {
        const double seconds = static_cast<double>(took) * 1e-9;
        PyObject* const error = stands ? Py_XNewRef(failure) : item_error(state());
        if (error != nullptr) {
            tell_job_error(on.hooks, payload, error, seconds);
        } else if (result != nullptr) {
            tell_job_complete(on.hooks, payload, result, seconds);
        }
        Py_XDECREF(error);
        PyErr_Clear();
    }
    (result != nullptr && stands ? stats.completed : stats.failed).add();
    stats.finished.add();
    if (home->core->options().interruptible) {
        // May wait for a delivery in progress, which needs the GIL.
        gil::ensure_detached();
        on.where.where.interruption.end(on.called && !stands, [&] { home->interrupt(on.where.where); });
        gil::ensure_attached();
    }
    const auto outcome = result != nullptr ? batch_stream::outcome::result : batch_stream::outcome::failure;
    Py_XDECREF(result);
    Py_XDECREF(failure);
    Py_DECREF(payload);
    if (stands) mark(index, outcome);
    return stands;
}

} // namespace loomy::py
