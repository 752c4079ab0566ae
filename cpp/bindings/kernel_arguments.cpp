#include "kernel_arguments.hpp"

#include <new>
#include <utility>

#include "gil.hpp"
#include "kernel_check.hpp"

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

void kernel_arguments::done_with() {
    if (gil::is_attached_here()) {
        if (state_.exchange(state::gone, std::memory_order_acq_rel) != state::gone) let_go();
        return;
    }
    state_.store(state::done, std::memory_order_release); // pairs with the exchange in let_go_if_done
    retain();
    deferred::push(*this);
}

void kernel_arguments::let_go_if_done() {
    state done = state::done;
    if (state_.compare_exchange_strong(done, state::gone, std::memory_order_acq_rel)) let_go();
}

void kernel_arguments::destroy() {
    let_go_if_done();
    release();
}

} // namespace loomy::py
