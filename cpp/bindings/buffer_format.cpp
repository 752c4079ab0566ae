#include "buffer_format.hpp"

#include <algorithm>
#include <bit>

namespace loomy::py {
namespace {

constexpr loomy_dtype opaque{opaque_code, 0, 1};

std::optional<std::uint8_t> code_of(std::string_view element) noexcept {
    if (element.size() == 2 && element[0] == 'Z' && std::string_view("efdg").find(element[1]) != element.npos)
        return std::uint8_t{LOOMY_COMPLEX};
    if (element.size() != 1) return std::nullopt;
    const auto is_one_of = [&](std::string_view letters) { return letters.find(element[0]) != letters.npos; };
    if (is_one_of("bhilqn")) return std::uint8_t{LOOMY_INT};
    if (is_one_of("BHILQNc")) return std::uint8_t{LOOMY_UINT};
    if (is_one_of("efdg")) return std::uint8_t{LOOMY_FLOAT};
    if (is_one_of("FDG")) return std::uint8_t{LOOMY_COMPLEX};
    if (is_one_of("?")) return std::uint8_t{LOOMY_BOOL};
    return std::nullopt;
}

bool begins_with_order(std::string_view format) noexcept {
    return !format.empty() && std::string_view("@=<>!^").find(format[0]) != format.npos;
}

struct spelled {
    std::string_view text;
    loomy_dtype dtype;
};
constexpr spelled known[] = {
    {"b1", {LOOMY_BOOL, 8, 1}},     {"i1", {LOOMY_INT, 8, 1}},        {"i2", {LOOMY_INT, 16, 1}},
    {"i4", {LOOMY_INT, 32, 1}},     {"i8", {LOOMY_INT, 64, 1}},       {"u1", {LOOMY_UINT, 8, 1}},
    {"u2", {LOOMY_UINT, 16, 1}},    {"u4", {LOOMY_UINT, 32, 1}},      {"u8", {LOOMY_UINT, 64, 1}},
    {"f2", {LOOMY_FLOAT, 16, 1}},   {"f4", {LOOMY_FLOAT, 32, 1}},     {"f8", {LOOMY_FLOAT, 64, 1}},
    {"c8", {LOOMY_COMPLEX, 64, 1}}, {"c16", {LOOMY_COMPLEX, 128, 1}},
};

} // namespace

bool is_complex(const char* format) noexcept {
    std::string_view rest = format != nullptr ? format : "B";
    if (begins_with_order(rest)) rest.remove_prefix(1);
    return code_of(rest) == LOOMY_COMPLEX;
}

element_type element_of(const char* format, Py_ssize_t itemsize) noexcept {
    std::string_view rest = format != nullptr ? format : "B";
    bool swapped = false;
    if (begins_with_order(rest)) {
        const bool big = rest[0] == '>' || rest[0] == '!';
        swapped = (big || rest[0] == '<') && big != (std::endian::native == std::endian::big);
        rest.remove_prefix(1);
    }
    const std::optional<std::uint8_t> code = code_of(rest);
    if (!code || itemsize <= 0 || itemsize > 31) return {opaque, false};
    return {{*code, static_cast<std::uint8_t>(8 * itemsize), 1}, swapped && itemsize > 1};
}

std::string spelling_of(loomy_dtype dtype) {
    for (const spelled& one : known) {
        if (same(one.dtype, dtype)) return std::string(one.text);
    }
    if (dtype.code == opaque_code) return "structured or opaque elements";
    const char letter = dtype.code == LOOMY_FLOAT ? 'f' : dtype.code == LOOMY_COMPLEX ? 'c' : '?';
    if (letter == '?' || dtype.lanes != 1) {
        return "DLPack type " + std::to_string(dtype.code) + " of " + std::to_string(dtype.bits) + " bits" +
               (dtype.lanes != 1 ? ", " + std::to_string(dtype.lanes) + " lanes" : "");
    }
    return letter + std::to_string(dtype.bits / 8);
}

std::optional<loomy_dtype> dtype_of(std::string_view spelling) noexcept {
    for (const spelled& one : known) {
        if (one.text == spelling) return one.dtype;
    }
    return std::nullopt;
}

std::int64_t alignment_of(loomy_dtype dtype) noexcept {
    const std::int64_t size = size_of(dtype);
    if (dtype.code == opaque_code || size == 0) return 1;
    const std::int64_t part = dtype.code == LOOMY_COMPLEX ? size / 2 : size;
    switch (part) {
        case 2:
            return alignof(std::int16_t);
        case 4:
            return alignof(std::int32_t);
        case 8:
            return static_cast<std::int64_t>(dtype.code == LOOMY_INT || dtype.code == LOOMY_UINT
                                                 ? alignof(std::int64_t)
                                                 : alignof(double));
        default:
            return part > 8 ? static_cast<std::int64_t>(alignof(long double)) : 1;
    }
}

} // namespace loomy::py
