#include "process_exit.hpp"

#include <atomic>

#include "errors.hpp"
#include "event_loop.hpp"
#include "gil.hpp"
#include "loomy/exec/interrupter.hpp"
#include "loomy/sync/address_wait.hpp"
#include "loomy/sync/completion.hpp"
#include "loomy/sync/spin.hpp"
#include "loomy/sync/timer.hpp"
#include "pool_object.hpp"
#include "python_pool.hpp"
#include "thread_entry.hpp"

namespace loomy::py {
namespace {

// How long jobs that run at exit get to end, once their contexts have been cancelled.
constexpr std::int64_t exit_grace_ns = 1'000'000'000;

std::atomic<bool> exiting{false};
std::atomic<bool> past_exit{false};
deadline exit_deadline;

bool is_executor(const python_pool& one) noexcept {
    return one.kind == pool_kind::executor;
}

void close_pools() {
    exiting.store(true, std::memory_order_relaxed);
    exit_deadline = deadline::after(exit_grace_ns);
    python_pool::for_each([](python_pool& one) {
        if (!is_executor(one)) one.core->discard();
    });
    python_pool::for_each([](python_pool& one) {
        if (!is_executor(one)) one.core->stop_running();
    });
    python_pool::for_each([](python_pool& one) {
        // Of an executor only what Ctrl-C has stopped is still there past its own wait.
        if ((is_executor(one) && !is_past_exit()) || one.is_inside() || one.core->dead()) return;
        const gil::detached scope;
        while (one.core->workers() != 0 && !exit_deadline.passed()) {
            (void)one.core->wait_for_size(0, exit_deadline);
        }
    });
    {
        const gil::detached scope;
        (void)timer::stop(exit_deadline);
        (void)interrupter::stop(exit_deadline);
    }
}

// The main thread has ended; other threads may go on, and may go on using executors.
PyObject* at_exit(PyObject*, PyObject*) {
    close_pools();
    Py_RETURN_NONE;
}

// The other threads have ended too: executors run what was submitted to them, however long that takes, as the
// standard library's do. Ctrl-C ends that.
PyObject* after_threads(PyObject*, PyObject*) {
    python_pool::for_each([](python_pool& one) {
        if (is_executor(one)) one.core->drain();
    });
    python_pool::for_each([](python_pool& one) {
        if (!is_executor(one) || one.is_inside() || one.core->dead()) return;
        if (PyErr_Occurred() == nullptr && wait_for_size(one, 0, deadline::never()) >= 0) return;
        PyObject* const raised = errors::take_raised(); // hooks and callbacks are called meanwhile
        one.core->discard();
        one.core->stop_running();
        errors::put_back(raised);
    });
    past_exit.store(true, std::memory_order_relaxed);
    PyObject* const interrupt = errors::take_raised();
    close_pools();
    errors::put_back(interrupt);
    if (PyErr_Occurred() != nullptr) return nullptr;
    Py_RETURN_NONE;
}

PyObject* after_fork_in_child(PyObject*, PyObject*) {
    // Only the forking thread exists here: whatever another one held is held for ever, and no worker will
    // come.
    reset_address_wait_after_fork();
    listener_lock::reset_after_fork();
    spin_permits::reset_after_fork();
    timer::reset_after_fork();
    interrupter::reset_after_fork();
    gil::reset_after_fork();
    forget_running_event_loop();
    python_pool::all_dead_in_child();
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"_at_exit", at_exit, METH_NOARGS,
     PyDoc_STR(
         "_at_exit()\n--\n\nClose all pools; what runs gets its context cancelled and a second to end.")},
    {"_after_threads", after_threads, METH_NOARGS,
     PyDoc_STR("_after_threads()\n--\n\nWait for the jobs of all executors, then the same as _at_exit().")},
    {"_after_fork_in_child", after_fork_in_child, METH_NOARGS,
     PyDoc_STR("_after_fork_in_child()\n--\n\nFor os.register_at_fork: old pools are dead, new ones work.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

bool is_past_exit() noexcept {
    return past_exit.load(std::memory_order_relaxed);
}

bool is_exiting() noexcept {
    return exiting.load(std::memory_order_relaxed);
}

int register_process_events(PyObject* module) {
    timer::set_thread_starter(&start_service_thread);
    interrupter::set_thread_starter(&start_service_thread);
    return PyModule_AddFunctions(module, functions);
}

} // namespace loomy::py
