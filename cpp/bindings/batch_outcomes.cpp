#include "errors.hpp"
#include "gil.hpp"
#include "invoke.hpp"
#include "pool_object.hpp"
#include "python_batch.hpp"
#include "python_module.hpp"

// What became of the items of a batch.
namespace loomy::py {

// With the GIL, or under outcomes_lock_.
void python_batch::put_failure(std::uint64_t index, PyObject* error) {
    if (failures_ == nullptr) failures_ = PyDict_New();
    PyObject* const key = PyLong_FromUnsignedLongLong(index);
    if (failures_ == nullptr || key == nullptr || PyDict_SetItem(failures_, key, error) < 0) {
        errors::report_unraisable("an error of a batch that could not be kept", nullptr);
    }
    Py_XDECREF(key);
}

void python_batch::payloads_abandoned(range which, phase as) {
    if (which.empty()) return;
    const gil::attached scope;
    if (!scope) return;
    PyObject* const error = item_error(as);
    PyObject* const table = home->has_job_hooks() ? home->hooks() : nullptr;
    for (std::uint64_t i = which.begin; error != nullptr && i < which.end; ++i) {
        PyObject* const payload = items_.take(i);
        if (table != nullptr) tell_job_error(table, payload, error, 0.0);
        Py_DECREF(payload);
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if (gil::is_free_threaded) guard.lock();
        if (!collected_) put_failure(i, error);
        mark(i, batch_stream::outcome::failure);
    }
    PyErr_Clear();
    Py_XDECREF(table);
    Py_XDECREF(error);
}

void python_batch::on_abandoned(phase as, bool) {
    if (stream_) stream_->announce();
    if (token) {
        token->cancel(as == phase::timed_out ? cancel_reason::deadline_exceeded : cancel_reason::cancelled);
    }
}

PyObject* python_batch::item_error(phase as) const {
    switch (as) {
        case phase::timed_out:
            return errors::make(deadline_is_context ? errors::deadline_exceeded() : errors::job_timed_out(),
                                nullptr, "the %s passed before this item of a batch in pool '%U' had ended",
                                deadline_is_context ? "deadline of the context" : "timeout", home->name);
        case phase::cancelled:
            return errors::make(errors::job_cancelled(), nullptr, "the batch in pool '%U' was cancelled%s%s",
                                home->name, token && !token->detail().empty() ? ": " : "",
                                token ? token->detail().c_str() : "");
        default: {
            if (home->broken.load(std::memory_order_relaxed)) return broken_error();
            if (home->core->closed()) {
                return errors::make(
                    errors::pool_not_running(), nullptr,
                    "pool '%U' was closed before this item of a batch started; use shutdown() to let "
                    "queued jobs finish",
                    home->name);
            }
            const std::lock_guard guard(home->factory_lock);
            return errors::make(
                errors::worker_closed(), home->factory_error,
                "no worker of pool '%U' could be made to run this item: its factory raised; see "
                "__cause__",
                home->name);
        }
    }
}

PyObject* python_batch::take_outcome(std::uint64_t index) {
    switch (stream_->of(index)) {
        case batch_stream::outcome::result:
            return items_.take(index);
        case batch_stream::outcome::none: // running when the batch was abandoned
            if (PyObject* const error = item_error(state())) {
                errors::put_back(error);
            }
            return nullptr;
        case batch_stream::outcome::failure:
            break;
    }
    PyObject* const key = PyLong_FromUnsignedLongLong(index);
    PyObject* error = nullptr;
    if (key != nullptr) {
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        error = failures_ != nullptr ? Py_XNewRef(PyDict_GetItemWithError(failures_, key)) : nullptr;
        if (error != nullptr)
            (void)PyDict_DelItem(failures_, key); // referred to by `error`: nothing is freed
    }
    Py_XDECREF(key);
    if (error == nullptr) return PyErr_Occurred() == nullptr ? PyErr_NoMemory() : nullptr;
    errors::put_back(error);
    return nullptr;
}

PyObject* python_batch::collect(phase as) {
    PyObject* const type = borrowed_class("loomy.batch", "BatchResult");
    if (type == nullptr) return nullptr;
    PyObject* results = nullptr;
    PyObject* failures = nullptr;
    {
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        PyObject* error = nullptr;
        const bool whole = as == phase::done && failures_ == nullptr;
        for (std::uint64_t i = 0; !whole && i < size(); ++i) {
            if (!items_.is_empty(i)) continue;
            if (as != phase::done) {
                // Running when the batch was abandoned: no outcome yet, and none will be taken any more.
                PyObject* const key = PyLong_FromUnsignedLongLong(i);
                if (key != nullptr && (failures_ == nullptr || PyDict_Contains(failures_, key) == 0)) {
                    if (error == nullptr) error = item_error(as);
                    if (error != nullptr) put_failure(i, error);
                }
                Py_XDECREF(key);
                PyErr_Clear();
            }
            items_.put(i, Py_NewRef(Py_None));
        }
        Py_XDECREF(error);
        collected_ = true;
        results = items_.release();
        failures = std::exchange(failures_, nullptr);
    }
    PyObject* const arguments[] = {results, failures != nullptr ? failures : Py_None};
    PyObject* const whole = PyObject_Vectorcall(type, arguments, 2, nullptr);
    Py_DECREF(results);
    Py_XDECREF(failures);
    return whole;
}

} // namespace loomy::py
