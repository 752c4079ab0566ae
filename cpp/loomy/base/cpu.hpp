#pragma once

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace loomy {

// Tells the core that this is a spin loop: saves power and frees the sibling hyper-thread.
inline void cpu_pause() noexcept {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
    _mm_pause();
#elif defined(_MSC_VER)
    __yield();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield" ::: "memory");
#endif
}

// Lets the thread that the system would run here next have the CPU first, if there is one. For who has work
// to do; not a way to wait.
void give_cpu_away() noexcept;

// CPUs this process may use: the affinity mask, cut by the cgroup's CPU quota (rounded up); at least 1.
// The mask can change while the process runs, so this asks the system each time.
[[nodiscard]] int usable_cpus() noexcept;

} // namespace loomy
