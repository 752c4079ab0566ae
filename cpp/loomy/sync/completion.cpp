#include "loomy/sync/completion.hpp"

#include <array>
#include <mutex>
#include <new>
#include <utility>

#include "loomy/base/cacheline.hpp"
#include "loomy/base/immortal.hpp"

namespace loomy {
namespace {

struct alignas(cache_line) stripe {
    std::mutex mutex;
};

constexpr std::size_t stripe_count = 64;

constinit immortal<std::array<stripe, stripe_count>> table;

std::mutex& mutex_of(const void* object) noexcept {
    const auto bits = reinterpret_cast<std::uintptr_t>(object);
    return table.value[((bits >> 5) ^ (bits >> 11)) % stripe_count].mutex;
}

} // namespace

listener_lock::listener_lock(const void* object) noexcept : mutex_(&mutex_of(object)) {
    static_cast<std::mutex*>(mutex_)->lock();
}

listener_lock::~listener_lock() {
    static_cast<std::mutex*>(mutex_)->unlock();
}

void listener_lock::reset_after_fork() noexcept {
    for (stripe& one : table.value) new (&one.mutex) std::mutex;
}

listener* wake_waiters_locked(listener*& head) noexcept {
    listener* callbacks = nullptr;
    for (listener* one = std::exchange(head, nullptr); one != nullptr;) {
        listener* const next = one->next;
        if (one->waiter != nullptr) {
            one->waiter->unpark();
        } else {
            one->next = callbacks; // the list is newest first, so this turns it round
            callbacks = one;
        }
        one = next;
    }
    return callbacks;
}

void call_listeners(listener* callbacks) {
    while (callbacks != nullptr) {
        listener* const next = callbacks->next;
        callbacks->call(*callbacks);
        callbacks = next;
    }
}

} // namespace loomy
