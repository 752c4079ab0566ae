#include "ufunc_chunks.hpp"

#include <new>
#include <thread>

#include "errors.hpp"
#include "gil.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"
#include "pool_object.hpp"
#include "python_env.hpp"

namespace loomy::py {
namespace {

// Looks for signals, on the main thread and now and then: NumPy's loops do not, and the main thread, which
// alone runs handlers, may be in them until the end.
class signal_watch {
  public:
    // Detached. False: a handler raised; its error is on this thread's state.
    [[nodiscard]] static bool look() {
        if (!gil::is_main_thread()) return true;
        static std::int64_t next_ns = 0; // the main thread's only
        const std::int64_t now = now_ns();
        if (now < next_ns) return true;
        const gil::attached scope;
        const bool calm = scope && PyErr_CheckSignals() == 0;
        next_ns = now_ns() + interval_ns;
        return calm;
    }

  private:
    static constexpr std::int64_t interval_ns = 50'000'000; // attaching may take a tenth of that
};

// A call that is shared, while it runs.
struct shared_call {
    chunk_body& body;
    const std::thread::id caller = std::this_thread::get_id();
    // What a chunk raised that the caller ran itself: its own, whatever else the call ends with. A handler of
    // signals may have raised it, and there is nobody else to tell. The caller's only.
    PyObject* error_of_caller = nullptr;
};

int run_chunk(const loomy_call* call) {
    auto& whole = *static_cast<shared_call*>(call->launch->user_data);
    // Signals are for the caller to look for: what helps it on the main thread has its own calls to
    // interrupt.
    const bool is_caller = std::this_thread::get_id() == whole.caller;
    if (whole.body.run(call->begin, call->end) && (!is_caller || signal_watch::look())) return LOOMY_OK;
    if (!gil::has_error_while_detached()) return LOOMY_ERROR;
    if (is_caller) {
        const gil::attached scope;
        if (scope) Py_XSETREF(whole.error_of_caller, errors::take_raised());
    }
    return LOOMY_EPYTHON;
}

constexpr loomy_kernel make_kernel() {
    loomy_kernel kernel{};
    kernel.struct_size = sizeof(loomy_kernel);
    kernel.abi = LOOMY_ABI;
    kernel.name = "ufunc";
    kernel.run = &run_chunk;
    kernel.flags = LOOMY_K_USES_PYTHON;
    return kernel;
}
constexpr loomy_kernel kernel = make_kernel();

launch_request request(std::int64_t items, shared_call& call) {
    launch_request what;
    what.kernel = &kernel;
    what.total = items;
    what.user_data = &call;
    return what;
}

// Until no chunk runs any more. Null, or the error of a signal handler, which has ended it early.
PyObject* wait_for_end(launch& one) {
    pool& home = one.home();
    PyObject* interrupt = nullptr;
    while (!one.finished()) {
        const int woken =
            gil::wait_detached(deadline::never(), [&](deadline slice) { return home.wait(one, slice); });
        if (woken > 0) break;
        (void)home.stop(one, phase::cancelled);
        if (interrupt == nullptr) interrupt = errors::take_raised();
        PyErr_Clear(); // what runs is short, and has the caller's arrays
    }
    return interrupt;
}

void raise_unexplained() {
    PyErr_SetString(PyExc_SystemError, "the inner loop of a ufunc failed without saying why");
}

// What the launch ended with, as this thread's error if it is one.
chunks_end end_of(launch& one, const python_pool& home) {
    const launch_outcome end = one.outcome();
    if (end.as != phase::done) {
        PyErr_Format(errors::pool_not_running(),
                     "pool %R was shut down while it ran a ufunc; the result is incomplete", home.name);
        return chunks_end::failed;
    }
    if (end.code == LOOMY_OK) return chunks_end::done;
    if (auto* const error = static_cast<PyObject*>(one.take_foreign_error())) {
        errors::put_back(error);
    } else {
        raise_unexplained();
    }
    return chunks_end::failed;
}

} // namespace

chunks_end run_here(std::int64_t items, chunk_body& body) {
    bool good = false;
    {
        const detached scope;
        good = body.run(0, items);
    }
    if (good) return chunks_end::done;
    if (PyErr_Occurred() == nullptr) raise_unexplained();
    return chunks_end::failed;
}

chunks_end run_chunks(python_pool& home, std::int64_t items, chunk_body& body) {
    pool& core = *home.core;
    if (!core.closed() && (core.size() < 2 || items < 2)) return chunks_end::refused;
    shared_call call{body};
    job_handle<launch> one;
    submitted answer = submitted::full;
    try {
        // It ends with its chunks: what they work on is the caller's.
        one.reset(new launch(core, request(items, call), launch::ends::with_its_chunks));
        const detached scope;
        answer = home.any_affinity ? launch_sharing(core, *one, python_env::of_callers())
                                   : launch_queued(core, *one);
    } catch (const std::bad_alloc&) { // then by one thread
    }
    if (answer == submitted::closed) {
        raise_not_running(home);
        return chunks_end::failed;
    }
    if (answer != submitted::accepted) return chunks_end::refused;
    if (PyObject* const interrupt = wait_for_end(*one)) Py_XSETREF(call.error_of_caller, interrupt);
    if (call.error_of_caller != nullptr) {
        errors::put_back(call.error_of_caller);
        return chunks_end::failed;
    }
    return end_of(*one, home);
}

} // namespace loomy::py
