#include "deferred.hpp"

namespace loomy::py {

void deferred::push(node& one) noexcept {
    node* seen = head_.load(std::memory_order_relaxed);
    do {
        one.next_deferred = seen;
        // release: pairs with the exchange in drain_all, whose thread takes the object apart.
    } while (!head_.compare_exchange_weak(seen, &one, std::memory_order_release, std::memory_order_relaxed));
    // The queue of pending calls is short and may be full; then something else will come by.
    if (seen == nullptr) (void)Py_AddPendingCall(&pending_call, nullptr);
}

void deferred::drain_all() {
    node* one = head_.exchange(nullptr, std::memory_order_acquire);
    while (one != nullptr) {
        node* const next = one->next_deferred;
        one->destroy();
        one = next;
    }
}

int deferred::pending_call(void*) {
    drain();
    return 0;
}

} // namespace loomy::py
