#include "gil.hpp"

#include <utility>

#include "loomy/base/clock.hpp"
#include "loomy/base/cpu.hpp"
#include "loomy/sync/spin.hpp"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread.h>
#endif

namespace loomy::py::gil {
namespace {

// Long enough for a caller to return from submitting and to come back waiting, far below a GIL hand-off.
constexpr std::int64_t courtesy_ns = 5'000;

// About what a parked thread would take to wake when the GIL comes free.
constexpr std::int64_t drain_courtesy_ns = 20'000;

PyObject* checkpoint_function = nullptr;

thread_local bool counted_here = false; // in draining_workers

bool is_finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing() != 0;
#else
    return _Py_IsFinalizing() != 0;
#endif
}

} // namespace

std::int64_t attach_for_work() {
    if constexpr (!is_free_threaded) {
        if (waiting_threads.load(std::memory_order_relaxed) == 0) {
            static thread_local spin_budget courtesy{courtesy_ns};
            std::int64_t start_ns = 0;
            (void)courtesy.spin([] { return waiting_threads.load(std::memory_order_relaxed) != 0; },
                                start_ns);
        }
        draining_workers.fetch_add(1, std::memory_order_relaxed);
        counted_here = true;
    }
    const std::int64_t start = now_ns();
    attach();
    const std::int64_t took = now_ns() - start;
    return took >= forced_wait_ns ? took : 0;
}

void detach_after_work() {
    if (is_detached_here()) return;
    detach();
    if (std::exchange(counted_here, false)) draining_workers.fetch_sub(1, std::memory_order_relaxed);
}

void attach_after_wait() {
    if constexpr (!is_free_threaded) {
        if (draining_workers.load(std::memory_order_relaxed) != 0) {
            static thread_local spin_budget courtesy{drain_courtesy_ns};
            std::int64_t start_ns = 0;
            (void)courtesy.spin([] { return draining_workers.load(std::memory_order_relaxed) == 0; },
                                start_ns);
        }
    }
    attach();
}

bool checkpoint() {
    if (checkpoint_function == nullptr) return PyErr_CheckSignals() == 0;
    PyObject* const nothing = PyObject_CallNoArgs(checkpoint_function);
    Py_XDECREF(nothing);
    return nothing != nullptr;
}

void set_checkpoint_function(PyObject* function) {
    Py_XSETREF(checkpoint_function, Py_NewRef(function));
}

bool is_main_thread() noexcept {
    static thread_local const bool main = [] {
#if defined(__linux__)
        return getpid() == static_cast<pid_t>(syscall(SYS_gettid));
#elif defined(__APPLE__)
        return pthread_main_np() != 0;
#else
        return true; // where the system does not tell, every thread looks for signals
#endif
    }();
    return main;
}

void send_to_this_thread(PyObject* exception_type) noexcept {
    (void)PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), exception_type);
}

void reset_after_fork() noexcept {
    waiting_threads.store(0, std::memory_order_relaxed);
    draining_workers.store(0, std::memory_order_relaxed);
    counted_here = false;
}

attached::attached() {
    if (is_detached_here()) {
        how_ = how::ours;
        attach();
    } else if (PyGILState_Check() != 0 && PyGILState_GetThisThreadState() != nullptr) {
        how_ = how::already;
    } else if (is_finalizing() || Py_IsInitialized() == 0) {
        how_ = how::refused;
    } else {
        how_ = how::foreign;
        foreign_state_ = PyGILState_Ensure();
    }
}

attached::~attached() noexcept(false) {
    switch (how_) {
        case how::ours:
            detach();
            break;
        case how::foreign:
            PyGILState_Release(foreign_state_);
            break;
        case how::already:
        case how::refused:
            break;
    }
}

} // namespace loomy::py::gil
