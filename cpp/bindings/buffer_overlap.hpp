#pragma once

#include "loomy/kernel.h"

namespace loomy::py {

// Whether some byte belongs to an element of each. Exact for what arrays look like in practice (views of the
// same array with steps, blocks of columns, mirrored ones); where finding out takes too long it says true.
[[nodiscard]] bool may_overlap(const loomy_buffer& a, const loomy_buffer& b) noexcept;

// Whether two elements of the array may share a byte: broadcast dimensions, sliding windows.
[[nodiscard]] bool may_overlap_itself(const loomy_buffer& a) noexcept;

// The same elements at the same indexes: what a loop over single elements may have as input and output.
[[nodiscard]] bool is_same_array(const loomy_buffer& a, const loomy_buffer& b) noexcept;

[[nodiscard]] bool is_empty(const loomy_buffer& a) noexcept;

} // namespace loomy::py
