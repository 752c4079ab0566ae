#include "kernel_arguments.hpp"

#include <new>
#include <utility>

#include "gil.hpp"
#include "kernel_check.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy::py {

kernel_arguments::kernel_arguments(kernel_object& kernel, std::uint32_t count)
    : buffers_(new loomy_buffer[count]{}),
      held_(new held_argument[count]),
      count_(count),
      kernel_(Py_NewRef(reinterpret_cast<PyObject*>(&kernel))) {}

ref<kernel_arguments> kernel_arguments::take(kernel_object& kernel, PyObject* const* args,
                                             std::uint32_t count, const std::int64_t* n) {
    const argument_check check(*kernel.facts, kernel.name, args, count);
    if (!check.count_fits()) return {};
    ref<kernel_arguments> made;
    try {
        made = ref<kernel_arguments>::adopt(new kernel_arguments(kernel, count));
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return {};
    }
    try {
        if (check.take_all(made->held_.get(), made->buffers_.get()) &&
            check.lengths(made->buffers_.get(), n, made->total_) && check.overlaps(made->buffers_.get())) {
            return made;
        }
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    }
    made->let_go();
    return {};
}

void kernel_arguments::let_go() {
    for (std::uint32_t i = 0; i < count_; ++i) held_[i].let_go();
    Py_CLEAR(kernel_);
}

// Whether this thread is the one that lets go.
bool kernel_arguments::leave(std::uint32_t from) {
    if (!state_.compare_exchange_strong(from, leaving, std::memory_order_acq_rel)) return false;
    leaver_.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
    let_go();
    // release: pairs with the loads in wait_until_gone
    if (state_.exchange(gone, std::memory_order_acq_rel) == watched) wake_all_at_address(&state_);
    return true;
}

void kernel_arguments::done_with() {
    if (gil::is_attached_here()) {
        (void)(leave(in_use) || leave(done));
        return;
    }
    state_.store(done, std::memory_order_release); // pairs with the exchange in leave
    retain();
    deferred::push(*this);
}

void kernel_arguments::let_go_if_done() {
    if (!leave(done)) wait_until_gone();
}

// Leaving takes as long as the end of some arrays, which may run Python, even Python that asks for this
// launch's answer, in this thread or in a ring of several: so not for ever.
void kernel_arguments::wait_until_gone() {
    std::uint32_t seen = state_.load(std::memory_order_acquire);
    if (seen != leaving && seen != watched) return;
    if (leaver_.load(std::memory_order_relaxed) == PyThread_get_thread_ident()) return;
    const deadline patience = deadline::after(100'000'000);
    const gil::detached scope;
    while (!patience.passed()) {
        seen = leaving;
        state_.compare_exchange_strong(seen, watched, std::memory_order_acq_rel);
        if (seen == gone) return;
        (void)wait_on_address(state_, watched, patience);
    }
}

void kernel_arguments::destroy() {
    let_go_if_done();
    release();
}

} // namespace loomy::py
