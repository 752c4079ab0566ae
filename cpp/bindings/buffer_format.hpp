#pragma once

#include <Python.h>

#include <optional>
#include <string>
#include <string_view>

#include "loomy/kernel.h"

namespace loomy::py {

// DLPack's code for what is no number to anybody but its maker.
inline constexpr std::uint8_t opaque_code = 3;

struct element_type {
    loomy_dtype dtype;
    bool swapped; // of the other byte order
};

// What the struct module's format (PEP 3118; null means bytes) says an element is. The class comes from its
// letter and the size from `itemsize`, as both "l" and "q" may be 64 bits. Opaque: structs, pointers, text.
[[nodiscard]] element_type element_of(const char* format, Py_ssize_t itemsize) noexcept;

// Whether it is a complex number, of whatever size: some are opaque, as no signature can spell them.
[[nodiscard]] bool is_complex(const char* format) noexcept;

// "f8", "c16" and so on: as signatures spell it, and back.
[[nodiscard]] std::string spelling_of(loomy_dtype dtype);
[[nodiscard]] std::optional<loomy_dtype> dtype_of(std::string_view spelling) noexcept;

[[nodiscard]] inline std::int64_t size_of(loomy_dtype dtype) noexcept {
    return dtype.bits / 8;
}
[[nodiscard]] inline bool same(loomy_dtype a, loomy_dtype b) noexcept {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}
// What an address of an element must be a multiple of.
[[nodiscard]] std::int64_t alignment_of(loomy_dtype dtype) noexcept;

} // namespace loomy::py
