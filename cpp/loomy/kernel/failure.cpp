#include "loomy/kernel/failure.hpp"

#include <new>
#include <utility>

namespace loomy {

void first_failure::keep(int code, std::string_view message, index_range where, void* foreign) noexcept {
    code_ = code;
    where_ = where;
    foreign_ = foreign;
    try {
        message_ = message;
    } catch (const std::bad_alloc&) {
        message_.clear();
    }
}

void* first_failure::take_foreign() noexcept {
    return std::exchange(foreign_, nullptr);
}

} // namespace loomy
