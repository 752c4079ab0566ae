#include "batch_submission.hpp"

#include <new>

#include "invoke.hpp"
#include "python_env.hpp"
#include "python_job.hpp"

namespace loomy::py {

ref<python_batch> make_batch(python_pool& home, batch_items items, const call_limits& limits) {
    PyObject* const snapshot = copy_context(home);
    if (snapshot == nullptr && home.copy_context) return {};
    auto* const made = new (std::nothrow) python_batch(ref<python_pool>::share(&home), std::move(items),
                                                       snapshot, limits.token, limits.context);
    if (made == nullptr) {
        Py_XDECREF(snapshot);
        PyErr_NoMemory();
        return {};
    }
    made->deadline_is_context = limits.deadline_is_context;
    return ref<python_batch>::adopt(made);
}

int run_whole_here(python_pool& home, python_batch& whole, slot& on) {
    bool open = false;
    {
        frame here(*home.core, on, python_env::of_callers(), false);
        open = home.core->run_here(whole, here);
    }
    if (!open) raise_not_running(home);
    return open ? 0 : -1;
}

void end_unsubmitted(python_pool& home, python_batch& whole, cancel_reason why) {
    home.core->count_submitted(whole.size());
    (void)home.core->abandon(whole, phase_for(why));
}

int submit_batch(python_pool& home, python_batch& whole, const call_limits& limits) {
    for (;;) {
        submitted answer{};
        whole.add_hold(); // the queue's
        try {
            answer = home.core->submit(whole);
        } catch (const std::bad_alloc&) {
            (void)whole.drop_hold();
            PyErr_NoMemory();
            return -1;
        }
        if (answer == submitted::accepted) return 0;
        if (answer == submitted::no_thread) {
            (void)home.core->abandon(whole, phase::refused);
            raise_no_thread(home);
            return -1;
        }
        (void)whole.drop_hold();
        if (answer == submitted::closed) {
            raise_not_running(home);
            return -1;
        }
        switch (meet_full(home, limits)) {
            case full_answer::failed:
                return -1;
            case full_answer::again:
                continue;
            case full_answer::over:
                end_unsubmitted(home, whole, limits.over());
                return 0;
            case full_answer::run_here:
                break;
        }
        try {
            slot& guest = home.core->enter_as_guest();
            const int done = run_whole_here(home, whole, guest);
            home.core->leave_as_guest(guest);
            return done;
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return -1;
        }
    }
}

} // namespace loomy::py
