#include "kernel_submit.hpp"

#include <new>
#include <string>

#include "errors.hpp"
#include "gil.hpp"
#include "python_env.hpp"

namespace loomy::py {
namespace {

// A chunk cannot be interrupted by a signal, only stopped, and only the main thread handles signals: so it
// takes part in nothing that is not known to be over sooner than anybody notices.
constexpr double soon_ps = 10e9; // 10 ms, of which nobody feels a delay of Ctrl-C

bool may_take_part(const python_launch& what, const kernel_object& kernel) {
    if (!gil::is_main_thread() || frame::top() != nullptr) return true;
    const std::uint64_t per_item_ps = kernel.facts->cost.per_item_ps();
    const auto items = static_cast<double>(what.shared_part().total);
    return per_item_ps != 0 && items * static_cast<double>(per_item_ps) < soon_ps;
}

// The kernel's own code may run in it, before and after the chunks.
bool calls_the_kernel(const kernel_object& kernel) noexcept {
    return kernel.facts->kernel->prepare != nullptr || kernel.facts->kernel->finish != nullptr;
}

submitted submit_once(python_pool& home, python_launch& what, const kernel_object& kernel,
                      const ref<cancel_token>& token, launch_how how) {
    if (how == launch_how::with_this_thread) {
        const bool takes_part = may_take_part(what, kernel);
        const gil::detached scope;
        return takes_part ? launch_sharing(*home.core, what, python_env::of_callers(), token)
                          : launch_queued(*home.core, what, token);
    }
    if (!calls_the_kernel(kernel)) return launch_queued(*home.core, what, token);
    const gil::detached scope;
    return launch_queued(*home.core, what, token);
}

// The calling thread runs what the queue has no place for.
submitted run_as_guest(python_pool& home, python_launch& what, const ref<cancel_token>& token) {
    const gil::detached scope;
    slot& guest = home.core->enter_as_guest();
    submitted answer{};
    try {
        frame here(*home.core, guest, python_env::of_callers(), false);
        answer = launch_sharing(*home.core, what, python_env::of_callers(), token);
    } catch (...) {
        home.core->leave_as_guest(guest);
        throw;
    }
    home.core->leave_as_guest(guest);
    return answer;
}

void end_unsubmitted(python_pool& home, python_launch& what, cancel_reason why) {
    home.core->count_submitted(1);
    (void)home.core->abandon(what, phase_for(why));
}

bool submit_or_throw(python_pool& home, python_launch& what, const kernel_object& kernel,
                     const call_limits& limits, launch_how how) {
    for (;;) {
        // What is over before it began never gets into the queue.
        if (const cancel_reason over = limits.over(); over != cancel_reason::none) {
            end_unsubmitted(home, what, over);
            return true;
        }
        submitted answer = submit_once(home, what, kernel, limits.token, how);
        if (answer == submitted::full) {
            switch (meet_full(home, limits)) {
                case full_answer::failed:
                    return false;
                case full_answer::again:
                    continue;
                case full_answer::over:
                    end_unsubmitted(home, what, limits.over());
                    return true;
                case full_answer::run_here:
                    answer = run_as_guest(home, what, limits.token);
                    break;
            }
        }
        if (answer == submitted::accepted) return true;
        (void)(answer == submitted::no_thread ? raise_no_thread(home) : raise_not_running(home));
        return false;
    }
}

} // namespace

bool submit_launch(python_pool& home, python_launch& what, const kernel_object& kernel,
                   const call_limits& limits, launch_how how) {
    try {
        return submit_or_throw(home, what, kernel, limits, how);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_Format(PyExc_RuntimeError, "the deadline of a launch cannot be watched: %s", error.what());
    }
    return false;
}

PyObject* launch_abandoned(phase as, const kernel_object& kernel, const python_pool& home,
                           const call_limits& limits) {
    if (as == phase::timed_out) {
        return errors::make(errors::deadline_exceeded(), nullptr,
                            "the deadline of the job's context passed while it ran kernel '%U' in pool '%U'",
                            kernel.name, home.name);
    }
    if (as == phase::refused) {
        return errors::make(errors::pool_not_running(), nullptr,
                            "pool '%U' was closed before kernel '%U' started", home.name, kernel.name);
    }
    const std::string why = limits.token ? limits.token->detail() : std::string();
    return errors::make(errors::job_cancelled(), nullptr, "kernel '%U' was stopped in pool '%U'%s%s",
                        kernel.name, home.name, why.empty() ? "" : ": ", why.c_str());
}

} // namespace loomy::py
