#include "loomy/sync/address_wait.hpp"

#if defined(__linux__) && !defined(LOOMY_PORTABLE_WAIT)

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <ctime>

namespace loomy {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "the kernel compares a 4-byte word");

long futex(const void* word, int operation, std::uint32_t value, const timespec* timeout,
           std::uint32_t mask) noexcept {
    return syscall(SYS_futex, word, operation, value, timeout, nullptr, mask);
}

} // namespace

wait_status wait_on_address(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                            deadline until) noexcept {
    timespec absolute{};
    timespec* timeout = nullptr;
    if (!until.is_never()) {
        const std::int64_t ns =
            until.ns() > 0 ? until.ns() : 0; // the kernel refuses a time before its clock began
        absolute.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
        absolute.tv_nsec = static_cast<long>(ns % 1'000'000'000);
        timeout = &absolute;
    }
    // FUTEX_WAIT_BITSET takes an absolute time of the monotonic clock, which is what steady_clock reads.
    const long result =
        futex(&word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, timeout, FUTEX_BITSET_MATCH_ANY);
    if (result == 0) return wait_status::woken;
    switch (errno) {
        case ETIMEDOUT:
            return wait_status::timed_out;
        case EINTR:
            return wait_status::interrupted;
        default:
            return wait_status::woken; // EAGAIN: the word had changed already
    }
}

void wake_one_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, 0);
}

void wake_all_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, 0);
}

bool address_wait_is_interruptible() noexcept {
    return true;
}

void reset_address_wait_after_fork() noexcept {}

} // namespace loomy

#elif defined(_WIN32) && !defined(LOOMY_PORTABLE_WAIT)

#include <windows.h>

namespace loomy {

wait_status wait_on_address(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                            deadline until) noexcept {
    DWORD milliseconds = INFINITE;
    if (!until.is_never()) {
        const std::int64_t left = (until.remaining_ns() + 999'999) / 1'000'000; // never wake early
        milliseconds = left < INFINITE ? static_cast<DWORD>(left) : INFINITE - 1;
    }
    auto* address = const_cast<std::atomic<std::uint32_t>*>(&word);
    if (WaitOnAddress(address, &expected, sizeof expected, milliseconds)) return wait_status::woken;
    return GetLastError() == ERROR_TIMEOUT ? wait_status::timed_out : wait_status::woken;
}

void wake_one_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    WakeByAddressSingle(const_cast<std::atomic<std::uint32_t>*>(word));
}

void wake_all_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    WakeByAddressAll(const_cast<std::atomic<std::uint32_t>*>(word));
}

bool address_wait_is_interruptible() noexcept {
    return false;
}

void reset_address_wait_after_fork() noexcept {}

} // namespace loomy

#else

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

#include "loomy/base/immortal.hpp"

namespace loomy {
namespace {

// Waiters of one address form a list in its bucket; each sleeps on a condition variable of its own, so that a
// wake reaches exactly the threads it is for.
struct sleeper {
    const void* address;
    sleeper* next = nullptr;
    bool woken = false;
    std::condition_variable wake{};
};

struct bucket {
    std::mutex lock;
    sleeper* first = nullptr;
};

constexpr std::size_t bucket_count = 64;

constinit immortal<std::array<bucket, bucket_count> > table;

bucket& bucket_of(const void* address) noexcept {
    const auto bits = reinterpret_cast<std::uintptr_t>(address);
    return table.value[((bits >> 4) ^ (bits >> 12)) % bucket_count];
}

void wake(const void* address, bool all) noexcept {
    bucket& home = bucket_of(address);
    const std::lock_guard guard(home.lock);
    for (sleeper** link = &home.first; *link != nullptr;) {
        sleeper* one = *link;
        if (one->address != address) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        one->woken = true;
        one->wake.notify_one(); // under the lock: the sleeper's frame lives until it gets the lock back
        if (!all) return;
    }
}

} // namespace

wait_status wait_on_address(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                            deadline until) noexcept {
    bucket& home = bucket_of(&word);
    std::unique_lock guard(home.lock);
    // A waker changes the word before it takes this lock, so either this load sees the change or the waker
    // finds us in the list.
    if (word.load(std::memory_order_seq_cst) != expected) return wait_status::woken;
    sleeper self{&word};
    sleeper** end = &home.first;
    while (*end != nullptr) end = &(*end)->next;
    *end = &self;
    while (!self.woken) {
        if (until.is_never()) {
            self.wake.wait(guard);
            continue;
        }
        const std::chrono::steady_clock::time_point limit{std::chrono::nanoseconds(until.ns())};
        if (self.wake.wait_until(guard, limit) == std::cv_status::timeout && !self.woken) {
            sleeper** link = &home.first;
            while (*link != &self) link = &(*link)->next;
            *link = self.next;
            return wait_status::timed_out;
        }
    }
    return wait_status::woken;
}

void wake_one_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    wake(word, false);
}

void wake_all_at_address(const std::atomic<std::uint32_t>* word) noexcept {
    wake(word, true);
}

bool address_wait_is_interruptible() noexcept {
    return false;
}

void reset_address_wait_after_fork() noexcept {
    for (bucket& one : table.value) new (&one) bucket;
}

} // namespace loomy

#endif
