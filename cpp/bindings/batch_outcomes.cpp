#include "errors.hpp"
#include "gil.hpp"
#include "invoke.hpp"
#include "pool_object.hpp"
#include "python_batch.hpp"
#include "python_module.hpp"
#include "standard_library.hpp"

// What became of the items of a batch.
namespace loomy::py {
namespace {

bool put_into(PyObject* failures, std::uint64_t index, PyObject* error) {
    PyObject* const key = PyLong_FromUnsignedLongLong(index);
    const bool kept = failures != nullptr && key != nullptr && PyDict_SetItem(failures, key, error) == 0;
    Py_XDECREF(key);
    return kept;
}

cancel_reason reason_for(phase abandoned_as) noexcept {
    return abandoned_as == phase::timed_out ? cancel_reason::deadline_exceeded : cancel_reason::cancelled;
}

void report_lost_error() {
    errors::report_unraisable("an error of a batch that could not be kept", nullptr);
}

} // namespace

bool python_batch::put_failure(std::uint64_t index, PyObject* error) {
    bool kept = false;
    {
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        if (collected_) return false;
        if (failures_ == nullptr) failures_ = PyDict_New();
        kept = put_into(failures_, index, error);
    }
    if (!kept) report_lost_error();
    return true;
}

// A close refuses what is left of a batch while it may be abandoned and collected at the same time: then the
// items that were not refused in time have the batch's answer, for the caller, the hooks and the books.
std::uint64_t python_batch::payloads_abandoned(range which, phase as) {
    if (which.empty()) return 0;
    const gil::attached scope;
    if (!scope) return which.size();
    PyObject* const error = item_error(as);
    PyObject* const table = home->has_job_hooks() ? home->hooks() : nullptr;
    std::uint64_t too_late = 0;
    for (std::uint64_t i = which.begin; error != nullptr && i < which.end; ++i) {
        PyObject* const payload = items_.take(i);
        const bool stands = payload != nullptr && put_failure(i, error);
        if (!stands) {
            ++too_late;
            home->core->count_abandoned_item(state());
        }
        if (payload == nullptr) continue; // who has collected the batch has told the hooks, too
        PyObject* const told = table == nullptr ? nullptr : stands ? Py_NewRef(error) : item_error(state());
        if (told != nullptr) tell_job_error(table, payload, told, 0.0);
        Py_XDECREF(told);
        Py_DECREF(payload);
        mark(i, batch_stream::outcome::failure);
    }
    PyErr_Clear();
    Py_XDECREF(table);
    Py_XDECREF(error);
    return which.size() - too_late;
}

void python_batch::on_abandoned(phase as, bool) {
    if (stream_) stream_->announce();
    ref<cancel_token> over = token;
    if (!over) {
        const listener_lock guard(this);
        over = lent_;
    }
    if (over) over->cancel(reason_for(as));
}

cancel_token* python_batch::token_of_items() {
    if (token) return token.get();
    ref<cancel_token> made = cancel_token::make();
    phase now{};
    {
        const listener_lock guard(this);
        if (!lent_) lent_ = std::move(made);
        now = state(); // who abandons the batch comes for the token afterwards, through the same lock
    }
    if (is_final(now)) lent_->cancel(reason_for(now));
    return lent_.get();
}

PyObject* python_batch::item_error(phase as) const {
    switch (as) {
        case phase::timed_out:
            return errors::make(deadline_is_context ? errors::deadline_exceeded() : errors::job_timed_out(),
                                nullptr, "the %s passed before this item of a batch in pool '%U' had ended",
                                deadline_is_context ? "deadline of the context" : "timeout", home->name);
        case phase::cancelled:
            if (home->kind == pool_kind::executor) return standard_cancelled_error();
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
            PyObject* const cause = home->factory_error();
            PyObject* const error =
                errors::make(errors::worker_closed(), cause,
                             "no worker of pool '%U' could be made to run this item: its factory raised; see "
                             "__cause__",
                             home->name);
            Py_XDECREF(cause);
            return error;
        }
    }
}

PyObject* python_batch::take_outcome(std::uint64_t index) {
    switch (stream_->of(index)) {
        case batch_stream::outcome::result:
            return items_.take_result(index);
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
    PyObject* failures = nullptr;
    {
        std::unique_lock<std::mutex> guard(outcomes_lock_, std::defer_lock);
        if constexpr (gil::is_free_threaded) guard.lock();
        collected_ = true;
        failures = std::exchange(failures_, nullptr);
    }
    PyObject* const results = as == phase::done ? items_.release() : collect_abandoned(as, failures);
    if (results == nullptr) {
        Py_XDECREF(failures);
        return nullptr;
    }
    PyObject* const arguments[] = {results, failures != nullptr ? failures : Py_None};
    PyObject* const whole = PyObject_Vectorcall(type, arguments, 2, nullptr);
    Py_DECREF(results);
    Py_XDECREF(failures);
    return whole;
}

// The results of those that have one, and None for the others, whose error is put into `failures`. Some may
// still be running, and others about to be run or refused by threads that have claimed them. New reference.
PyObject* python_batch::collect_abandoned(phase as, PyObject*& failures) {
    PyObject* const results = PyList_New(static_cast<Py_ssize_t>(size()));
    PyObject* const error = results != nullptr ? item_error(as) : nullptr;
    if (failures == nullptr && error != nullptr) failures = PyDict_New();
    if (failures == nullptr || error == nullptr) {
        Py_XDECREF(error);
        Py_XDECREF(results);
        return nullptr;
    }
    PyObject_GC_UnTrack(results); // so that nobody sees its holes: hooks are called meanwhile
    PyObject* const table = home->has_job_hooks() ? home->hooks() : nullptr;
    for (std::uint64_t i = 0; i < size(); ++i) {
        const batch_items::left there = items_.close_place(i);
        if (there.payload != nullptr) {
            if (table != nullptr) tell_job_error(table, there.payload, error, 0.0);
            Py_DECREF(there.payload);
        }
        PyList_SET_ITEM(results, static_cast<Py_ssize_t>(i),
                        there.result != nullptr ? there.result : Py_NewRef(Py_None));
        if (there.result != nullptr) continue;
        PyObject* const key = PyLong_FromUnsignedLongLong(i);
        if (key == nullptr || PyDict_SetDefault(failures, key, error) == nullptr) report_lost_error();
        Py_XDECREF(key);
    }
    PyObject_GC_Track(results);
    Py_XDECREF(table);
    Py_DECREF(error);
    return results;
}

} // namespace loomy::py
