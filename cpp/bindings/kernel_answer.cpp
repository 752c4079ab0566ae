// A python_job, and with it an AsyncResult, as the answer of a launch.

#include "errors.hpp"
#include "gil.hpp"
#include "kernel_errors.hpp"
#include "kernel_launch.hpp"
#include "python_batch.hpp"

namespace loomy::py {

python_job::python_job(ref<python_pool> home_, PyObject* kernel, job_handle<python_launch> of) noexcept
    : home(std::move(home_)), started(std::move(of)), payload_(Py_NewRef(kernel)) {
    reset_word(static_cast<std::uint32_t>(phase::running) + one_hold); // as that of a batch
}

// Puts what a finished launch came to, once.
void python_job::look_at_launch() {
    started->arguments().let_go_if_done();
    if (state() != phase::done) return;
    {
        const listener_lock guard(this);
        if (outcome_ != nullptr) return;
    }
    PyObject* outcome = nullptr;
    if (failed()) {
        outcome = launch_error(*started, reinterpret_cast<kernel_object*>(payload_)->name, home->name,
                               asked_by::other);
        if (outcome == nullptr) outcome = errors::take_raised();
    } else {
        outcome = Py_NewRef(Py_None);
    }
    {
        const listener_lock guard(this); // two may ask at the same time
        if (outcome_ == nullptr) outcome_ = std::exchange(outcome, nullptr);
    }
    Py_XDECREF(outcome);
    if constexpr (!gil::is_free_threaded) track_if_cyclic(*this, outcome_);
}

bool cancel_launch(python_job& answer) {
    return answer.home->core->abandon(*answer.started, phase::cancelled) ||
           answer.state() == phase::cancelled;
}

int help_with_launch(python_job& answer, deadline until) {
    pool& core = *answer.home->core;
    return gil::wait_detached(until, [&](deadline slice) {
        const wait_status status = core.wait(*answer.started, slice);
        return answer.finished() ? wait_status::woken : status;
    });
}

// On the thread that ended or abandoned the launch, attached or not. The launch is the answer's, and the node
// the launch's: neither is touched once the answer may be gone.
void python_launch::give_answer(listener& node) {
    auto& self = static_cast<answer_listener&>(node);
    python_job& answer = self.answer->job;
    const launch_outcome end = self.of->outcome();
    if (end.as == phase::done) {
        answer.note_launch_ended(end.code != LOOMY_OK);
    } else if (answer.abandon(end.as) != job::abandoned::no) {
        if ((answer.word() & (job::waiting | job::calling)) != 0) answer.tell_listeners();
        (void)answer.drop_hold(); // not the last: ours is
    }
    if (answer.publish().disposable) answer.dispose();
}

void python_launch::ends_answer(async_result& answer) {
    listener_.call = &give_answer;
    listener_.is_native = true;
    listener_.of = this;
    listener_.answer = &answer;
    (void)listen(listener_); // it has not begun, so it cannot have ended
}

void python_launch::forget_answer() {
    if (stop_listening(listener_)) (void)listener_.answer->job.drop_hold();
}

} // namespace loomy::py
