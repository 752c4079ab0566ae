#include "cancel_callback.hpp"

#include "errors.hpp"
#include "gil.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy::py {
namespace {

// What the function raises has no caller to go to. An error that is set already stays set.
void call_and_report(PyObject* function) {
    PyObject* const before = errors::take_raised();
    PyObject* const result = PyObject_CallNoArgs(function);
    if (result == nullptr) errors::report_unraisable("the on_cancel callback", function);
    Py_XDECREF(result);
    if (before != nullptr) {
        errors::raise(before);
        Py_DECREF(before);
    }
}

} // namespace

void cancel_callback::fired(cancel_reason) {
    runner_ = std::this_thread::get_id();
    std::uint32_t seen = waiting;
    // (1) acq_rel: the closer that fails on it (2) sees runner_; and we see the function.
    if (state_.compare_exchange_strong(seen, running, std::memory_order_acq_rel)) {
        {
            const gil::attached scope;
            // The interpreter is going away: then the function is lost, and its memory with it.
            if (scope) {
                call_and_report(function_);
                Py_DECREF(function_);
            }
        }
        finish();
    }
    release();
}

void cancel_callback::finish() noexcept {
    // (3) release: what the function did is seen by who waited for its end (4).
    state_.store(done, std::memory_order_release);
    wake_all_at_address(&state_);
}

void cancel_callback::abandoned() noexcept {
    std::uint32_t seen = waiting;
    if (state_.compare_exchange_strong(seen, closed, std::memory_order_acq_rel)) {
        deferred::push(*this); // this thread may be detached
    } else {
        release();
    }
}

void cancel_callback::destroy() {
    Py_DECREF(function_);
    release();
}

bool cancel_callback::drop(cancel_token& token) {
    std::uint32_t seen = waiting;
    if (!state_.compare_exchange_strong(seen, closed, std::memory_order_acq_rel)) return false;
    if (token.remove(*this)) release(); // else the firing thread finds it closed
    Py_DECREF(function_);
    return true;
}

int cancel_callback::close(cancel_token& token) {
    if (drop(token)) return 0;
    // (2) acquire: pairs with (1).
    if (state_.load(std::memory_order_acquire) != running || runner_ == std::this_thread::get_id()) return 0;
    const int ended = gil::wait_detached(deadline::never(), [this](deadline until) {
        while (state_.load(std::memory_order_acquire) == running) { // (4) pairs with (3)
            const wait_status status = wait_on_address(state_, running, until);
            if (status != wait_status::woken) return status;
        }
        return wait_status::woken;
    });
    return ended < 0 ? -1 : 0;
}

} // namespace loomy::py
