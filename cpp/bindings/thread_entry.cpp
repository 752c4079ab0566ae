#include "thread_entry.hpp"

#include <cstdio>
#include <string>

#include "errors.hpp"
#include "gil.hpp"
#include "python_env.hpp"
#include "python_module.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#include <csignal>
#endif

namespace loomy::py {
namespace {

// Signals are the main thread's: one that a worker took would not interrupt what the main thread waits in.
void block_signals() noexcept {
#if !defined(_WIN32)
    sigset_t all;
    sigfillset(&all);
    // Faults are not for others to handle.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
#endif
}

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

struct worker_start_info {
    ref<python_pool> home;
    slot* self;
};

constexpr const char* worker_capsule = "loomy._worker";

void destroy_unused(PyObject* capsule) {
    delete static_cast<worker_start_info*>(PyCapsule_GetPointer(capsule, worker_capsule));
}

PyObject* worker_entry(PyObject* capsule, PyObject*) {
    auto* const info = static_cast<worker_start_info*>(PyCapsule_GetPointer(capsule, worker_capsule));
    if (info == nullptr) return nullptr;
    const ref<python_pool> home = info->home;
    slot& self = *info->self;
    block_signals();
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

struct service_start_info {
    void (*entry)(void*);
    void* argument;
};

constexpr const char* service_capsule = "loomy._service";

void destroy_service(PyObject* capsule) {
    delete static_cast<service_start_info*>(PyCapsule_GetPointer(capsule, service_capsule));
}

PyObject* service_entry(PyObject* capsule, PyObject*) {
    auto* const info = static_cast<service_start_info*>(PyCapsule_GetPointer(capsule, service_capsule));
    if (info == nullptr) return nullptr;
    block_signals();
    gil::detach();
    info->entry(info->argument);
    gil::ensure_attached();
    Py_RETURN_NONE;
}

PyMethodDef service_entry_definition = {"service", service_entry, METH_NOARGS, nullptr};

// threading.Thread(target=<builtin bound to the capsule>, name=name, daemon=True), started. Steals the
// capsule.
PyObject* start(PyMethodDef& definition, PyObject* capsule, PyObject* name) {
    PyObject* thread = nullptr;
    PyObject* const entry = capsule != nullptr ? PyCFunction_New(&definition, capsule) : nullptr;
    PyObject* const starter = borrowed_class("loomy._threads", "start");
    if (entry != nullptr && name != nullptr && starter != nullptr) {
        PyObject* const arguments[] = {entry, name};
        thread = PyObject_Vectorcall(starter, arguments, 2, nullptr);
    }
    Py_XDECREF(entry);
    Py_XDECREF(capsule);
    return thread;
}

} // namespace

PyObject* start_worker_thread(python_pool& home, slot& self) {
    auto* const info = new worker_start_info{ref<python_pool>::share(&home), &self};
    PyObject* const capsule = PyCapsule_New(info, worker_capsule, &destroy_unused);
    if (capsule == nullptr) {
        delete info;
        return nullptr;
    }
    const char* const format = home.kind == pool_kind::executor ? "%U_%u" : "%U-%u"; // as the stdlib's
    PyObject* const name = PyUnicode_FromFormat(format, home.name, self.id);
    PyObject* const thread = start(worker_entry_definition, capsule, name);
    Py_XDECREF(name);
    return thread;
}

bool start_service_thread(void (*entry)(void*), void* argument) {
    const gil::attached scope;
    if (!scope) return false;
    PyObject* const saved = errors::take_raised();
    auto* const info = new service_start_info{entry, argument};
    PyObject* const capsule = PyCapsule_New(info, service_capsule, &destroy_service);
    PyObject* const name = PyUnicode_FromString("loomy-service");
    PyObject* const thread = start(service_entry_definition, capsule, name);
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
