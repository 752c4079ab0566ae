#pragma once

// Replaces the aligned operator new: counts the queue blocks in existence and fails on request. Include it in
// one translation unit of a test program.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "loomy/sync/queue_block.hpp"

namespace queue_test {

inline std::atomic<long> blocks_alive{0};
inline std::atomic<long> blocks_made{0};
inline thread_local long allocations_left = -1; // of this thread, before they fail; -1: for ever

// std::barrier, for one, uses aligned memory too.
[[nodiscard]] constexpr bool for_a_block(std::align_val_t alignment) noexcept {
    return alignment == std::align_val_t{loomy::queue_block_alignment};
}

} // namespace queue_test

// noinline: GCC would see free() applied to what an operator new returned, and warn.
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    const auto boundary = static_cast<std::size_t>(alignment);
    const bool block = queue_test::for_a_block(alignment);
    if (block && queue_test::allocations_left == 0) throw std::bad_alloc();
    if (block && queue_test::allocations_left > 0) --queue_test::allocations_left;
#if defined(_MSC_VER)
    void* memory = _aligned_malloc(size, boundary);
#else
    void* memory = std::aligned_alloc(boundary, (size + boundary - 1) / boundary * boundary);
#endif
    if (memory == nullptr) throw std::bad_alloc();
    if (block) {
        queue_test::blocks_alive.fetch_add(1, std::memory_order_relaxed);
        queue_test::blocks_made.fetch_add(1, std::memory_order_relaxed);
    }
    return memory;
}

[[gnu::noinline]] void operator delete(void* memory, std::align_val_t alignment) noexcept {
    if (memory == nullptr) return;
    if (queue_test::for_a_block(alignment)) queue_test::blocks_alive.fetch_sub(1, std::memory_order_relaxed);
#if defined(_MSC_VER)
    _aligned_free(memory);
#else
    std::free(memory);
#endif
}

[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
    operator delete(memory, alignment);
}
