#include "host_api.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

#include "default_pool.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "host_flight.hpp"
#include "interpreter_services.hpp"
#include "loomy/host.h"
#include "python_env.hpp"
#include "python_pool.hpp"

namespace loomy::py {
namespace {

python_pool* of(loomy_pool* given) {
    return given != nullptr ? reinterpret_cast<python_pool*>(given) : default_pool();
}

loomy_flight* as_flight(host_flight* one) noexcept {
    return reinterpret_cast<loomy_flight*>(one);
}
host_flight& as_launch(loomy_flight* one) noexcept {
    return *reinterpret_cast<host_flight*>(one);
}

// Whoever calls may be attached, detached by us (inside a kernel), or in a state that only it knows.
class caller_state {
  public:
    caller_state() : was_attached_(gil::is_attached_here()) {
        // Inside a job the thread may have to run other jobs while it waits, and for that we must know.
        if (!was_attached_ && !gil::is_detached_here() && frame::top() != nullptr) attached_.emplace();
        if (gil::is_attached_here()) detached_.emplace();
    }
    [[nodiscard]] bool was_attached() const noexcept { return was_attached_; }
    // Signals can end a wait of the main thread, but not a chunk; and what only waits needs no surroundings.
    [[nodiscard]] bool may_take_part() const noexcept {
        return gil::is_detached_here() &&
               (frame::top() != nullptr || !was_attached_ || !gil::is_main_thread());
    }

  private:
    const bool was_attached_;
    std::optional<gil::attached> attached_;
    std::optional<gil::detached> detached_; // ends before attached_
};

int status_of(submitted answer) noexcept {
    return answer == submitted::accepted    ? LOOMY_OK
           : answer == submitted::no_thread ? LOOMY_EOS
                                            : LOOMY_EUNAVAILABLE;
}

int status_of(const launch_outcome& end) noexcept {
    if (end.as == phase::done) return end.code;
    return end.as == phase::refused ? LOOMY_EUNAVAILABLE : LOOMY_CANCELLED;
}

// Until it has ended. False, with the error set: a signal handler raised; it was stopped and has ended.
bool wait_for_end(host_flight& one) {
    pool& home = one.home();
    const bool attached = gil::is_attached_here();
    if (!attached) {
        while (!one.finished()) (void)home.wait(one, deadline::never());
        return true;
    }
    if (gil::wait_detached(deadline::never(), [&](deadline slice) { return home.wait(one, slice); }) > 0)
        return true;
    PyObject* const raised = errors::take_raised();
    (void)home.stop(one, phase::cancelled);
    {
        const gil::detached scope;
        while (!one.finished()) (void)home.wait(one, deadline::never());
    }
    errors::raise(raised);
    Py_DECREF(raised);
    return false;
}

// The calling thread takes part, if it may, and waits.
int finish(host_flight& one) {
    pool& home = one.home();
    if (home.dead()) return LOOMY_EUNAVAILABLE; // of the parent process
    {
        const caller_state here;
        if (here.may_take_part() && one.has_room()) {
            if (frame* const mine = frame::of(home)) {
                frame nested(home, mine->where, mine->env, false);
                home.take_part(one, nested);
            } else if (slot* const borrowed = home.try_borrow_to_share()) {
                {
                    frame on(home, *borrowed, python_env::of_callers(), false);
                    home.take_part(one, on);
                }
                home.give_back(*borrowed);
            }
        }
        if (!here.was_attached()) {
            while (!one.finished()) (void)home.wait(one, deadline::never());
        }
    }
    if (!one.finished() && !wait_for_end(one)) return LOOMY_EPYTHON;
    const launch_outcome end = one.outcome();
    if (end.code == LOOMY_EPYTHON && gil::is_attached_here()) {
        if (void* const error = one.take_foreign_error()) {
            errors::raise(static_cast<PyObject*>(error));
            Py_DECREF(static_cast<PyObject*>(error));
        }
    }
    return status_of(end);
}

// The functions of the table.

loomy_pool* api_default_pool() {
    return reinterpret_cast<loomy_pool*>(default_pool());
}

std::uint32_t api_num_workers(loomy_pool* given) {
    const python_pool* const home = of(given);
    return home != nullptr ? home->core->size() : 0;
}

int start(job_handle<host_flight> made, loomy_flight** flight) {
    const int status = status_of(launch_queued(made->home(), *made));
    if (status == LOOMY_OK) *flight = as_flight(made.release());
    return status;
}

int api_launch(loomy_pool* given, const loomy_kernel* kernel, const loomy_buffer* args, std::uint32_t nargs,
               std::int64_t total, std::int64_t chunks, std::int64_t grain, loomy_flight** flight) {
    if (kernel_fault(kernel) != nullptr || total < 0 || total > partition::most_items || flight == nullptr)
        return LOOMY_EVALUE;
    const python_pool* const home = of(given);
    if (home == nullptr) return LOOMY_EUNAVAILABLE;
    launch_request what;
    what.kernel = kernel;
    what.args = args;
    what.nargs = nargs;
    what.total = total;
    what.chunks = chunks;
    what.grain = grain;
    const caller_state here;
    try {
        return start(host_flight::make(*home->core, what), flight);
    } catch (const std::bad_alloc&) {
        return LOOMY_EMEMORY;
    }
}

void api_stop(loomy_flight* flight) {
    host_flight& one = as_launch(flight);
    if (!one.home().dead()) (void)one.home().stop(one, phase::cancelled);
}

int api_wait(loomy_flight* flight, char* message, std::size_t size) {
    if (message != nullptr && size != 0) message[0] = '\0';
    if (flight == nullptr) return LOOMY_EVALUE;
    const job_handle<host_flight> mine(&as_launch(flight));
    const int status = finish(*mine);
    if (message != nullptr && size != 0 && mine->finished()) {
        const std::string_view text = mine->outcome().message;
        const std::size_t length = std::min(text.size(), size - 1);
        std::memcpy(message, text.data(), length);
        message[length] = '\0';
    }
    return status;
}

int api_parallel_for(loomy_pool* given, std::int64_t begin, std::int64_t end, std::int64_t grain,
                     loomy_range_fn fn, void* context) {
    if (fn == nullptr) return LOOMY_EVALUE;
    if (begin >= end) return LOOMY_OK;
    if (static_cast<std::uint64_t>(end) - static_cast<std::uint64_t>(begin) >
        static_cast<std::uint64_t>(partition::most_items)) {
        return LOOMY_EVALUE;
    }
    const python_pool* const home = of(given);
    if (home == nullptr) return LOOMY_EUNAVAILABLE;
    try {
        loomy_flight* flight = nullptr;
        {
            const caller_state here;
            job_handle<host_flight> made =
                host_flight::make_loop(*home->core, begin, end, grain, fn, context);
            if (here.may_take_part()) {
                const int status = status_of(launch_sharing(*home->core, *made, python_env::of_callers()));
                if (status != LOOMY_OK) return status;
                flight = as_flight(made.release());
            } else {
                const int status = start(std::move(made), &flight);
                if (status != LOOMY_OK) return status;
            }
        }
        return api_wait(flight, nullptr, 0);
    } catch (const std::bad_alloc&) {
        return LOOMY_EMEMORY;
    }
}

constexpr loomy_host table{sizeof(loomy_host), LOOMY_ABI, &api_default_pool, &api_num_workers,
                           &api_launch,        &api_stop, &api_wait,         &api_parallel_for};

} // namespace

int register_host_api(PyObject* module) {
    provide_interpreter_services();
    PyObject* const capsule = PyCapsule_New(const_cast<loomy_host*>(&table), LOOMY_HOST_CAPSULE, nullptr);
    if (capsule == nullptr) return -1;
    const int added = PyModule_AddObjectRef(module, "_host_api", capsule);
    Py_DECREF(capsule);
    return added;
}

} // namespace loomy::py
