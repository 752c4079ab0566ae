#include "submission.hpp"

#include <new>

#include "async_result.hpp"
#include "python_env.hpp"

namespace loomy::py {

// Puts a made job into the queue, as the pool's on_full says. 1: it is in, or has ended; 0: full; -1: error
// set.
int submit_result(python_pool& home, async_result* made, const call_limits& limits, bool full_is_none) {
    for (;;) {
        submitted answer{};
        try {
            answer = home.core->submit(made->job);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
            return -1;
        }
        switch (answer) {
            case submitted::accepted:
                return 1;
            case submitted::closed:
                raise_not_running(home);
                return -1;
            case submitted::no_thread:
                raise_no_thread(home);
                return -1;
            case submitted::full:
                break;
        }
        if (full_is_none) return 0;
        switch (meet_full(home, limits)) {
            case full_answer::failed:
                return -1;
            case full_answer::again:
                continue;
            case full_answer::over:
                home.core->end_unsubmitted(made->job, phase_for(limits.over()));
                return 1;
            case full_answer::run_here:
                break;
        }
        try {
            slot& guest = home.core->enter_as_guest();
            bool open = false;
            {
                python_env& env = python_env::of_callers();
                frame here(*home.core, guest, env, false);
                open = home.core->run_here(made->job, here);
                env.context.forget_idle();
            }
            home.core->leave_as_guest(guest);
            if (open) return 1;
            raise_not_running(home);
        } catch (const std::bad_alloc&) {
            PyErr_NoMemory();
        }
        return -1;
    }
}

// The job was not accepted, so the queue's hold is nobody's; but one that was refused for want of a thread
// lies in the queue, a husk, and that hold is the queue's until it comes upon it.
void discard(async_result* made) {
    if (made->job.state() == phase::pending) (void)made->job.drop_hold();
    Py_DECREF(reinterpret_cast<PyObject*>(made));
}

} // namespace loomy::py
