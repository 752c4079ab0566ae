#pragma once

#include <string>

#include "loomy/kernel.h"

#if defined(__GLIBCXX__) || defined(__GLIBCPP__)
#include <cxxabi.h>
#endif

namespace loomy {

// The exception that is being handled, for people: its type and what it says.
[[nodiscard]] std::string describe_current_exception() noexcept;

// Calls what may throw. A C++ exception becomes LOOMY_EPANIC, with its description in `escaped`; a thread
// that is being ended by its system unwinds through here as it must.
template <class Function>
int call_guarded(Function&& function, std::string& escaped) {
    try {
        return function();
#if defined(__GLIBCXX__)
    } catch (abi::__forced_unwind&) {
        throw;
#endif
    } catch (...) {
        escaped = describe_current_exception();
        return LOOMY_EPANIC;
    }
}

} // namespace loomy
