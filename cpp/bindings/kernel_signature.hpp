#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loomy/kernel.h"

namespace loomy::py {

// What a kernel says it takes: the grammar of loomy_kernel::signature in loomy/kernel.h, read once.
struct kernel_signature {
    struct dimension {
        enum class kind : std::uint8_t { any, fixed, named };
        kind how = kind::any;
        std::int64_t length = 0; // of a fixed one
        std::uint32_t name = 0;  // of a named one: its place in `names`
    };
    struct parameter {
        std::string name; // may be empty
        loomy_dtype dtype{};
        bool is_array = false;
        bool contiguous = false;
        bool written = false;
        std::vector<dimension> dimensions;
    };

    std::vector<parameter> parameters;
    std::vector<std::string> names; // of dimensions, in the order they appear

    static constexpr std::size_t most_parameters = 64;
    static constexpr std::size_t most_dimensions = 16; // of one argument

    // The place in `names` of n, the iteration space.
    [[nodiscard]] std::optional<std::uint32_t> space() const noexcept;

    // Nothing, and `fault` says what is wrong with it and where.
    [[nodiscard]] static std::optional<kernel_signature> parse(std::string_view text, std::string& fault);
};

} // namespace loomy::py
