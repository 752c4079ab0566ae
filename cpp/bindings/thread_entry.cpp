#include "thread_entry.hpp"

#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "errors.hpp"
#include "gil.hpp"
#include "gil_wait.hpp"
#include "python_env.hpp"
#include "python_module.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#include <csignal>
#endif

namespace loomy::py {
namespace {

// Of the library's own threads, in which no job runs: a signal that one took would not interrupt what the
// main thread waits in.
void block_signals() noexcept {
#if !defined(_WIN32)
    sigset_t all;
    sigfillset(&all);
    // Faults are not for others to handle.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
#endif
}

// Which signals a thread blocks.
class signal_mask {
  public:
#if !defined(_WIN32)
    [[nodiscard]] static signal_mask of_this_thread() noexcept {
        signal_mask mask;
        pthread_sigmask(SIG_BLOCK, nullptr, &mask.blocked_);
        return mask;
    }
    void apply() const noexcept {
        pthread_sigmask(SIG_SETMASK, &blocked_, nullptr);
    }

  private:
    sigset_t blocked_;
#else
    [[nodiscard]] static signal_mask of_this_thread() noexcept {
        return {};
    }
    void apply() const noexcept {}
#endif
};

// In a thread of the library's own: what was blocked in the one that started it.
thread_local std::optional<signal_mask> of_the_starter;

// What a worker is to block that this thread starts.
signal_mask mask_of_workers() noexcept {
    return of_the_starter ? *of_the_starter : signal_mask::of_this_thread();
}

// Until the end of the scope.
class signals_blocked {
  public:
    signals_blocked() noexcept { block_signals(); }
    ~signals_blocked() { before_.apply(); }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;

  private:
    const signal_mask before_ = signal_mask::of_this_thread();
};

// Before 3.14 threading does not tell the system what its threads are called.
void tell_system_name(PyObject* name, std::uint32_t id) noexcept {
#if defined(__linux__)
    const char* const text = PyUnicode_AsUTF8(name);
    if (text == nullptr) {
        PyErr_Clear();
        return;
    }
    // The system keeps 15 bytes: rather cut the name than lose the number.
    const std::string number = "-" + std::to_string(id);
    std::string whole(text);
    if (whole.size() + number.size() > 15) whole.resize(15 - std::min<std::size_t>(number.size(), 15));
    whole += number;
    pthread_setname_np(pthread_self(), whole.substr(0, 15).c_str());
#else
    (void)name;
    (void)id;
#endif
}

// What a new thread is to do. A signal handler that raises while `Thread.start` runs makes that fail although
// there is a thread, which may run or not: so whoever comes first, the thread or its starter, decides.
struct start_info {
    std::atomic<bool> decided{false};
    [[nodiscard]] bool decide() noexcept { return !decided.exchange(true, std::memory_order_acq_rel); }
};

template <class Info>
void destroy(PyObject* capsule) {
    delete static_cast<Info*>(PyCapsule_GetPointer(capsule, Info::name));
}

// A capsule that owns a new Info; null with an error set.
template <class Info, class... Arguments>
PyObject* new_capsule(Arguments&&... arguments) {
    auto* const info = new Info{{}, std::forward<Arguments>(arguments)...};
    PyObject* const capsule = PyCapsule_New(info, Info::name, &destroy<Info>);
    if (capsule == nullptr) delete info;
    return capsule;
}

struct worker_start_info : start_info {
    ref<python_pool> home;
    slot* self;
    signal_mask signals;
    static constexpr const char* name = "loomy._worker";
};

PyObject* worker_entry(PyObject* capsule, PyObject*) {
    auto* const info =
        static_cast<worker_start_info*>(PyCapsule_GetPointer(capsule, worker_start_info::name));
    if (info == nullptr) return nullptr;
    if (!info->decide()) Py_RETURN_NONE;
    const ref<python_pool> home = info->home;
    slot& self = *info->self;
    // As a thread of the one that started it: processes that a job starts inherit the mask, and with signals
    // blocked nothing could terminate them.
    info->signals.apply();
    tell_system_name(home->name, self.id);
    {
        worker_thread_env env(*home);
        gil::detach();
        home->core->run_worker(self, env);
        gil::ensure_attached();
    }
    home->core->release(); // the thread's reference, taken when it was started
    Py_RETURN_NONE;
}

PyMethodDef worker_entry_definition = {"worker", worker_entry, METH_NOARGS, nullptr};

struct service_start_info : start_info {
    void (*entry)(void*);
    void* argument;
    signal_mask signals;
    static constexpr const char* name = "loomy._service";
};

PyObject* service_entry(PyObject* capsule, PyObject*) {
    auto* const info =
        static_cast<service_start_info*>(PyCapsule_GetPointer(capsule, service_start_info::name));
    if (info == nullptr) return nullptr;
    if (!info->decide()) Py_RETURN_NONE;
    of_the_starter = info->signals;
    block_signals();
    gil::detach();
    info->entry(info->argument);
    gil::ensure_attached();
    Py_RETURN_NONE;
}

PyMethodDef service_entry_definition = {"service", service_entry, METH_NOARGS, nullptr};

// What a signal handler raised, to be raised at the next opportunity, as it would have been a moment later.
int raise_interruption(void* raised) {
    errors::put_back(static_cast<PyObject*>(raised));
    return -1;
}

// Another thread's is what a debugger or the like sent to that thread.
void raise_later(PyObject* raised) {
    if (!gil::is_main_thread()) {
        gil::send_to_this_thread(reinterpret_cast<PyObject*>(Py_TYPE(raised)));
        Py_DECREF(raised);
    } else if (Py_AddPendingCall(&raise_interruption, raised) != 0) { // too many are pending
        errors::put_back(raised);
        errors::report_unraisable("the start of a thread", nullptr);
    }
}

// Whether the error that is set says that the system has no thread to give. (Or a signal handler raised that
// before the thread had begun, and is taken at its word.)
bool is_refusal() noexcept {
    return PyErr_ExceptionMatches(PyExc_RuntimeError) != 0 || PyErr_ExceptionMatches(PyExc_MemoryError) != 0;
}

// Takes the error that is set, which a signal handler raised. Of several the first is kept.
void take_interruption(PyObject*& interruption) {
    PyObject* const raised = errors::take_raised();
    if (interruption == nullptr) {
        interruption = raised;
    } else {
        Py_DECREF(raised);
    }
}

// threading.Thread(target=<builtin bound to the capsule>, name=name, daemon=True), not started.
PyObject* new_thread(PyMethodDef& definition, PyObject* capsule, PyObject* name) {
    PyObject* thread = nullptr;
    PyObject* const entry = PyCFunction_New(&definition, capsule);
    PyObject* const maker = borrowed_class("loomy._threads", "new_thread");
    if (entry != nullptr && maker != nullptr) {
        PyObject* const arguments[] = {entry, name};
        thread = PyObject_Vectorcall(maker, arguments, 2, nullptr);
    }
    Py_XDECREF(entry);
    return thread;
}

// Starts a thread that does what the capsules say that `capsule_of` makes. New reference; null with an error
// set if there is none. With signals blocked, as far as that helps: they may arrive at other threads.
template <class Info, class MakeCapsule>
PyObject* start(PyMethodDef& definition, PyObject* name, MakeCapsule&& capsule_of) {
    PyObject* started = nullptr;
    PyObject* interruption = nullptr;
    {
        const signals_blocked scope;
        for (bool again = true; again;) {
            again = false;
            PyObject* const capsule = capsule_of();
            if (capsule == nullptr) break;
            auto* const info = static_cast<Info*>(PyCapsule_GetPointer(capsule, Info::name));
            PyObject* thread = new_thread(definition, capsule, name);
            PyObject* const nothing =
                thread != nullptr ? PyObject_CallMethod(thread, "start", nullptr) : nullptr;
            const bool runs = nothing != nullptr || (thread != nullptr && !info->decide());
            if (runs) {
                started = Py_NewRef(thread);
                if (nothing == nullptr) take_interruption(interruption); // whatever its type
            } else if (!is_refusal()) {
                take_interruption(interruption);
                again = true;
            }
            Py_XDECREF(thread);
            Py_XDECREF(nothing);
            Py_DECREF(capsule);
        }
    }
    if (interruption != nullptr) {
        PyObject* const refusal = errors::take_raised();
        raise_later(interruption);
        errors::put_back(refusal);
    }
    return started;
}

} // namespace

PyObject* start_worker_thread(python_pool& home, slot& self) {
    const signal_mask signals = mask_of_workers();
    const char* const format = home.kind == pool_kind::executor ? "%U_%u" : "%U-%u"; // as the stdlib's
    PyObject* const name = PyUnicode_FromFormat(format, home.name, self.id);
    if (name == nullptr) return nullptr;
    PyObject* const thread = start<worker_start_info>(worker_entry_definition, name, [&] {
        return new_capsule<worker_start_info>(ref<python_pool>::share(&home), &self, signals);
    });
    Py_DECREF(name);
    return thread;
}

bool start_service_thread(void (*entry)(void*), void* argument) {
    const gil::attached scope;
    if (!scope) return false;
    const signal_mask signals = mask_of_workers();
    PyObject* const saved = errors::take_raised();
    PyObject* const name = PyUnicode_FromString("loomy-service");
    PyObject* const thread =
        name == nullptr ? nullptr : start<service_start_info>(service_entry_definition, name, [&] {
            return new_capsule<service_start_info>(entry, argument, signals);
        });
    Py_XDECREF(name);
    const bool started = thread != nullptr;
    Py_XDECREF(thread);
    if (!started) PyErr_Clear();
    errors::put_back(saved);
    return started;
}

void prune_ended_threads(PyObject* threads) {
    for (Py_ssize_t i = PyList_GET_SIZE(threads); i-- > 0;) {
        PyObject* const thread = PySequence_GetItem(threads, i); // others may be taking some out as well
        if (thread == nullptr) {
            PyErr_Clear();
            continue;
        }
        PyObject* const alive = PyObject_CallMethod(thread, "is_alive", nullptr);
        if (alive == Py_False) {
            const Py_ssize_t at = PySequence_Index(threads, thread);
            if (at >= 0) PySequence_DelItem(threads, at);
        }
        PyErr_Clear();
        Py_XDECREF(alive);
        Py_DECREF(thread);
    }
}

} // namespace loomy::py
