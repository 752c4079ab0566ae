#include "deferred.hpp"

namespace loomy::py {
namespace {

// True if the list was empty.
template <class T>
bool push_onto(std::atomic<T*>& head, T& one, T*& link) noexcept {
    T* seen = head.load(std::memory_order_relaxed);
    do {
        link = seen;
        // release: pairs with the exchange in drain_all, whose thread takes the object apart.
    } while (!head.compare_exchange_weak(seen, &one, std::memory_order_release, std::memory_order_relaxed));
    return seen == nullptr;
}

} // namespace

// The queue of pending calls is short and may be full; then something else will come by.

void deferred::push(node& one) noexcept {
    if (push_onto(nodes_, one, one.next_deferred)) (void)Py_AddPendingCall(&pending_call, nullptr);
}

void deferred::push(job& one) noexcept {
    if (push_onto(jobs_, one, one.next_disposable)) (void)Py_AddPendingCall(&pending_call, nullptr);
}

void deferred::drain_all() {
    for (node* one = nodes_.exchange(nullptr, std::memory_order_acquire); one != nullptr;) {
        node* const next = one->next_deferred;
        one->destroy();
        one = next;
    }
    for (job* one = jobs_.exchange(nullptr, std::memory_order_acquire); one != nullptr;) {
        job* const next = one->next_disposable;
        one->dispose();
        one = next;
    }
}

int deferred::pending_call(void*) {
    drain();
    return 0;
}

} // namespace loomy::py
