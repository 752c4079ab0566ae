#pragma once

#include <cstring>

#include "loomy/kernel/interpreter.hpp"

namespace loomy {

// Whether what runs on this thread leaves an error of the interpreter's there, which would be the next one's
// that looks. Looking is two loads, so it is done for each chunk. Stays on its thread.
class error_watch {
  public:
    error_watch() noexcept = default; // sees nothing
    // An error that is there already is somebody else's, and is left alone.
    [[nodiscard]] static error_watch of_this_thread() noexcept {
        error_watch made;
        const void* const place = interpreter.error_place != nullptr ? interpreter.error_place() : nullptr;
        if (place != nullptr) made.place_ = place;
        made.before_ = made.now();
        return made;
    }

    [[nodiscard]] bool raised() const noexcept {
        const void* const error = now();
        return error != nullptr && error != before_;
    }
    // The caller's; null if there is none, or the interpreter is going away.
    [[nodiscard]] void* take() const { return raised() ? interpreter.take_error() : nullptr; }
    void drop() const {
        if (void* const error = take()) interpreter.drop_error(error);
    }

  private:
    [[nodiscard]] const void* now() const noexcept {
        const void* error; // the interpreter's own type of pointer, which is not known here
        std::memcpy(&error, place_, sizeof error);
        return error;
    }

    static constexpr const void* nothing = nullptr;
    const void* place_ = &nothing;
    const void* before_ = nullptr;
};

} // namespace loomy
