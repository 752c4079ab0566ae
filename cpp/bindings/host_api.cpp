#include "host_api.hpp"

#include <algorithm>
#include <cstring>
#include <new>

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

// How a thread came here: attached, detached by us (inside a kernel), or in a state that only it knows.
enum class caller : std::uint8_t { attached, ours, foreign };

// Signals can end a wait of the main thread, but not a chunk; and a foreign thread can only wait: it has no
// surroundings to run other jobs in.
[[nodiscard]] bool may_take_part(caller from) noexcept {
    return from == caller::ours ||
           (from == caller::attached && (frame::top() != nullptr || !gil::is_main_thread()));
}

// Calls work(caller) detached. (Scopes and no guard in an optional: that would end in code that is noexcept,
// and attaching may unwind the thread.)
template <class Work>
int call_detached(Work&& work) {
    if (gil::is_detached_here()) return work(caller::ours);
    if (gil::is_attached_here()) {
        const gil::detached scope;
        return work(caller::attached);
    }
    if (frame::top() == nullptr) return work(caller::foreign);
    // Inside a job it may have to run other jobs while it waits, and for that we must know its state.
    const gil::attached known;
    if (!known) return LOOMY_EUNAVAILABLE;
    const gil::detached scope;
    return work(caller::ours);
}

int status_of(submitted answer) noexcept {
    return answer == submitted::accepted    ? LOOMY_OK
           : answer == submitted::no_thread ? LOOMY_EOS
                                            : LOOMY_EUNAVAILABLE;
}

int status_of(const launch_outcome& end) noexcept {
    if (end.as == phase::done) return end.code;
    return end.as == phase::refused ? LOOMY_EUNAVAILABLE : LOOMY_CANCELLED;
}

void take_part(host_flight& one) {
    pool& home = one.home();
    if (frame* const mine = frame::of(home)) {
        frame nested(home, mine->where, mine->env, false);
        home.take_part(one, nested);
    } else if (slot* const borrowed = home.try_borrow_to_share()) {
        {
            frame here(home, *borrowed, python_env::of_callers(), false);
            home.take_part(one, here);
        }
        home.give_back(*borrowed);
    }
}

void wait_to_the_end(host_flight& one) {
    while (!one.finished()) (void)one.home().wait(one, deadline::never());
}

// Attached. Until it has ended. False, with the error set: a signal handler raised; the launch was stopped,
// and has ended.
bool wait_interruptibly(host_flight& one) {
    const auto wait = [&](deadline slice) { return one.home().wait(one, slice); };
    if (gil::wait_detached(deadline::never(), wait) > 0) return true;
    PyObject* const raised = errors::take_raised();
    (void)one.home().stop(one, phase::cancelled);
    {
        const gil::detached scope;
        wait_to_the_end(one);
    }
    errors::put_back(raised);
    return false;
}

int finish(host_flight& one) {
    if (one.home().dead()) return LOOMY_EUNAVAILABLE; // of the parent process
    (void)call_detached([&](caller from) {
        if (may_take_part(from) && one.has_room()) take_part(one);
        if (from != caller::attached) wait_to_the_end(one);
        return 0;
    });
    const bool attached = gil::is_attached_here();
    if (attached && !one.finished() && !wait_interruptibly(one)) return LOOMY_EPYTHON;
    if (!one.finished()) return LOOMY_EUNAVAILABLE; // the interpreter is going away
    const launch_outcome end = one.outcome();
    if (end.code == LOOMY_EPYTHON && attached) {
        if (auto* const error = static_cast<PyObject*>(one.take_foreign_error())) {
            errors::put_back(error);
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
    try {
        job_handle<host_flight> made = host_flight::make(*home->core, what);
        const int status =
            call_detached([&](caller) { return status_of(launch_queued(*home->core, *made)); });
        if (status == LOOMY_OK) *flight = as_flight(made.release());
        return status;
    } catch (const std::bad_alloc&) {
        return LOOMY_EMEMORY;
    }
}

void api_stop(loomy_flight* flight) {
    if (flight == nullptr) return;
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
    if (partition::exceeds_most(begin, end)) return LOOMY_EVALUE;
    const python_pool* const home = of(given);
    if (home == nullptr) return LOOMY_EUNAVAILABLE;
    try {
        const job_handle<host_flight> made =
            host_flight::make_loop(*home->core, begin, end, grain, fn, context);
        const int status = call_detached([&](caller from) {
            return status_of(may_take_part(from)
                                 ? launch_sharing(*home->core, *made, python_env::of_callers())
                                 : launch_queued(*home->core, *made));
        });
        return status == LOOMY_OK ? finish(*made) : status;
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
