#include "python_pool.hpp"

#include <array>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "errors.hpp"
#include "gil.hpp"
#include "python_env.hpp"
#include "python_module.hpp"
#include "thread_entry.hpp"

namespace loomy::py {
namespace {

std::mutex registry_lock; // held for a few instructions, and across a fork
python_pool* registry = nullptr;

#if !defined(_WIN32)
// Not from os.register_at_fork: what others have registered there is Python and may switch threads, and a
// thread that then makes a pool would wait, attached, for a lock whose owner waits to be attached.
[[maybe_unused]] const int fork_handlers = pthread_atfork(
    [] { registry_lock.lock(); }, [] { registry_lock.unlock(); }, [] { registry_lock.unlock(); });
#endif

constexpr const char* hook_names[hook_count] = {"on_job_start", "on_job_complete", "on_job_error",
                                                "on_worker_start", "on_worker_stop"};

#if PY_VERSION_HEX >= 0x030D0000
int find_attribute(PyObject* object, const char* name, PyObject** out) {
    return PyObject_GetOptionalAttrString(object, name, out);
}
#else
int find_attribute(PyObject* object, const char* name, PyObject** out) {
    *out = PyObject_GetAttrString(object, name);
    if (*out != nullptr) return 1;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    PyErr_Clear();
    return 0;
}
#endif

} // namespace

// The bound method if the object's class overrides `base`'s, else null without an error.
PyObject* overridden_method(PyObject* object, PyObject* base, const char* name) {
    PyObject* mine = nullptr;
    PyObject* plain = nullptr;
    if (find_attribute(reinterpret_cast<PyObject*>(Py_TYPE(object)), name, &mine) < 0) return nullptr;
    if (find_attribute(base, name, &plain) < 0) {
        Py_XDECREF(mine);
        return nullptr;
    }
    // An attribute of the instance counts as well: that is how mocks do it.
    PyObject* bound = nullptr;
    if (find_attribute(object, name, &bound) == 1) {
        const bool inherited =
            mine == plain && PyMethod_Check(bound) && PyMethod_GET_FUNCTION(bound) == plain;
        if (inherited) Py_CLEAR(bound);
    }
    Py_XDECREF(mine);
    Py_XDECREF(plain);
    return bound;
}

python_pool::python_pool(pool_kind kind_, PyObject* target, PyObject* name_, const pool_options& options,
                         bool any_affinity_)
    : kind(kind_),
      has_target(target != Py_None),
      any_affinity(any_affinity_),
      name(Py_NewRef(name_)),
      core(ref<pool>::adopt(new pool(options, *this))),
      target_(Py_NewRef(target)),
      threads_(PyList_New(0)) {
    const std::lock_guard guard(registry_lock);
    next_ = registry;
    if (registry != nullptr) registry->previous_ = this;
    registry = this;
}

python_pool::~python_pool() {
    {
        const std::lock_guard guard(registry_lock);
        (previous_ != nullptr ? previous_->next_ : registry) = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
    }
    clear();
    Py_XDECREF(name);
    Py_XDECREF(threads_);
}

bool python_pool::start_thread(slot& self) {
    const gil::attached scope;
    if (!scope) return false;
    // The thread that cannot be started may be one of many; its error is the pool's to tell, or nobody's.
    PyObject* saved = errors::take_raised();
    PyObject* const thread = start_worker_thread(*this, self);
    bool started = thread != nullptr;
    if (started) {
        // Threads that ended long ago are forgotten here, so that a pool that is resized often does not grow.
        if (PyList_GET_SIZE(threads_) > 2 * static_cast<Py_ssize_t>(core->size()) + 16)
            prune_ended_threads(threads_);
        if (PyList_Append(threads_, thread) < 0) PyErr_Clear();
        Py_DECREF(thread);
    } else {
        PyErr_Clear();
    }
    errors::put_back(saved);
    return started;
}

void python_pool::worker_joined(std::uint32_t id) {
    tell_worker_hook(worker_start, id);
}
void python_pool::worker_left(std::uint32_t id) {
    tell_worker_hook(worker_stop, id);
}

void python_pool::tell_worker_hook(hook which, std::uint32_t id) {
    if (!worker_hooks_.load(std::memory_order_relaxed)) return;
    const gil::attached scope;
    if (!scope) return;
    PyObject* const table = hooks();
    if (table == nullptr) return;
    const hook_scope inside(*this);
    PyObject* const number = PyLong_FromUnsignedLong(id);
    if (number != nullptr) {
        call_hook(table, which, &number, 1);
        Py_DECREF(number);
    } else {
        PyErr_Clear();
    }
    Py_DECREF(table);
}

void python_pool::interrupt(slot& self) {
    const gil::attached scope;
    if (!scope || self.user == nullptr) return;
    PyObject* const bound = static_cast<worker_thread_env*>(self.user)->interrupt_method;
    if (bound == nullptr) return;
    const hook_scope inside(*this);
    PyObject* const kept = Py_NewRef(bound);
    PyObject* const nothing = PyObject_CallNoArgs(kept);
    if (nothing == nullptr) errors::report_unraisable("interrupt() of a worker", kept);
    Py_XDECREF(nothing);
    Py_DECREF(kept);
}

PyObject* python_pool::shared_object(PyObject* const& place) const noexcept {
    std::unique_lock guard(objects_lock_, std::defer_lock);
    if constexpr (gil::is_free_threaded) guard.lock();
    return Py_XNewRef(place);
}

void python_pool::replace(PyObject*& place, PyObject* by) noexcept {
    PyObject* before = nullptr;
    {
        std::unique_lock guard(objects_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        before = std::exchange(place, by);
    }
    Py_XDECREF(before); // which may run Python
}

int python_pool::set_hooks(PyObject* object) {
    PyObject* table = nullptr;
    bool any_job = false;
    bool any_worker = false;
    if (object != Py_None) {
        PyObject* const base = borrowed_class("loomy.hooks", "Hooks");
        if (base == nullptr) return -1;
        table = PyTuple_New(hook_count);
        if (table == nullptr) return -1;
        for (Py_ssize_t i = 0; i < hook_count; ++i) {
            PyObject* method = overridden_method(object, base, hook_names[i]);
            if (method == nullptr && PyErr_Occurred() != nullptr) {
                Py_DECREF(table);
                return -1;
            }
            if (method != nullptr) (i <= job_error ? any_job : any_worker) = true;
            PyTuple_SET_ITEM(table, i, method != nullptr ? method : Py_NewRef(Py_None));
        }
        if (!any_job && !any_worker) Py_CLEAR(table);
    }
    replace(hooks_, table);
    job_hooks_.store(any_job, std::memory_order_relaxed);
    worker_hooks_.store(any_worker, std::memory_order_relaxed);
    return 0;
}

void python_pool::call_hook(PyObject* hooks, hook which, PyObject* const* arguments, std::size_t count) {
    PyObject* const method = PyTuple_GET_ITEM(hooks, which);
    if (method == Py_None) return;
    PyObject* const nothing = PyObject_Vectorcall(method, arguments, count, nullptr);
    if (nothing == nullptr) {
        errors::report_unraisable("hook", method);
    } else {
        Py_DECREF(nothing);
    }
}

bool python_pool::is_inside() const noexcept {
    return frame::of(*core) != nullptr || hook_scope::contains(*this);
}

int python_pool::join_threads() {
    for (;;) {
        const Py_ssize_t count = PyList_GET_SIZE(threads_);
        if (count == 0) return 0;
        // Others may be joining as well, so what was last need not be there any more.
        PyObject* const thread = PySequence_GetItem(threads_, count - 1);
        if (thread == nullptr) {
            PyErr_Clear();
            continue;
        }
        PyObject* const joined = PyObject_CallMethod(thread, "join", nullptr);
        if (joined != nullptr) {
            // Several threads may be closing the pool: remove what was joined, not what is last now.
            const Py_ssize_t at = PySequence_Index(threads_, thread);
            if (at >= 0) {
                PySequence_DelItem(threads_, at);
            }
            PyErr_Clear();
        }
        Py_DECREF(thread);
        if (joined == nullptr) return -1;
        Py_DECREF(joined);
    }
}

int python_pool::traverse(visitproc visit, void* arg) const {
    Py_VISIT(target_);
    Py_VISIT(hooks_);
    Py_VISIT(factory_error_);
    return 0;
}

void python_pool::clear() {
    replace(target_, nullptr);
    replace(factory_error_, nullptr);
    (void)set_hooks(Py_None);
}

void python_pool::for_each(void (*call)(python_pool&)) {
    // What is called may take long and may end pools, so go by reference, one at a time.
    std::vector<ref<python_pool>> all;
    {
        const std::lock_guard guard(registry_lock);
        for (python_pool* one = registry; one != nullptr; one = one->next_) {
            if (one->try_retain()) all.push_back(ref<python_pool>::adopt(one));
        }
    }
    for (const ref<python_pool>& one : all) call(*one);
}

void python_pool::all_dead_in_child() noexcept {
    for (python_pool* one = registry; one != nullptr; one = one->next_) one->core->die_in_child();
}

} // namespace loomy::py
