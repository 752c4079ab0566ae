#pragma once

#include <cstddef>

namespace loomy {

// Fixed rather than std::hardware_destructive_interference_size, which may differ between two translation
// units compiled with different -mtune and would then break the layout (GCC warns about exactly that).
// 64 bytes is the line on x86-64 and on most AArch64; Apple's cores prefetch pairs and have 128.
#if defined(__APPLE__) && defined(__aarch64__)
inline constexpr std::size_t cache_line = 128;
#else
inline constexpr std::size_t cache_line = 64;
#endif

} // namespace loomy
