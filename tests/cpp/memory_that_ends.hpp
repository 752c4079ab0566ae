#pragma once

// Replaces every operator new: counts what is allocated, and fails at the n-th call, on whichever thread that
// is. Include it in one translation unit of a test program.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace memory_test {

inline std::atomic<long> alive{0};
inline std::atomic<long> left{-1}; // calls until one fails; negative: none will

// The next `n` calls succeed, the one after fails, and those after that succeed again.
inline void fail_after(long n) {
    left.store(n + 1);
}
// True: one has failed.
inline bool stop_failing() {
    return left.exchange(-1) <= 0;
}

inline void* allocate(std::size_t size, std::size_t alignment) {
    // No call of `left` once it is negative: 0 is the one that fails, and stays as the mark that it did.
    for (long now = left.load(); now > 0;) {
        if (!left.compare_exchange_weak(now, now - 1)) continue;
        if (now == 1) throw std::bad_alloc();
        break;
    }
    void* const memory = alignment == 0
                             ? std::malloc(size)
                             : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    alive.fetch_add(1);
    return memory;
}
inline void release(void* memory) noexcept {
    if (memory == nullptr) return;
    alive.fetch_sub(1);
    std::free(memory);
}

} // namespace memory_test

// noinline: GCC would see free() applied to what an operator new returned, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
    return memory_test::allocate(size == 0 ? 1 : size, 0);
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    return memory_test::allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    memory_test::release(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    memory_test::release(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    memory_test::release(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    memory_test::release(memory);
}
