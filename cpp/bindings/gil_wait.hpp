#pragma once

// Included by gil.hpp.

#include "gil.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy::py::gil {

[[nodiscard]] bool is_main_thread() noexcept;
// Raises an exception of that type here, as soon as Python runs again. Attached.
void send_to_this_thread(PyObject* exception_type) noexcept;

template <class Deadline, class Wait>
int wait_detached(Deadline until, Wait&& wait) {
    // Where a signal cannot interrupt the wait itself, look for one more often.
    static const std::int64_t slice_ns = address_wait_is_interruptible() ? 200'000'000 : 50'000'000;
    const bool sliced = is_main_thread();
    for (;;) {
        wait_status status = wait_status::woken;
        {
            const detached scope;
            const Deadline slice = sliced ? earlier(until, Deadline::after(slice_ns)) : until;
            status = wait(slice);
        }
        if (status == wait_status::woken) return 1;
        if (PyErr_CheckSignals() != 0) return -1;
        if (status == wait_status::timed_out && until.passed()) return 0;
    }
}

} // namespace loomy::py::gil
