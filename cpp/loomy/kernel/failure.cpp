#include "loomy/kernel/failure.hpp"

#include <new>
#include <utility>

#include "loomy/kernel/interpreter.hpp"

namespace loomy {

first_failure::~first_failure() {
    forget();
}

void first_failure::forget() noexcept {
    if (void* const error = take_foreign()) interpreter.drop_error(error);
    code_ = 0;
    claimed_.store(false, std::memory_order_relaxed);
}

void first_failure::keep(int code, std::string_view message, index_range where, void* foreign,
                         bool is_of_loop) noexcept {
    code_ = code;
    where_ = where;
    is_of_loop_ = is_of_loop;
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
