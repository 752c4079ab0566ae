#pragma once

namespace loomy {

// A global that is there before any code runs and is never destroyed, as threads may use it while static
// destructors run. It lies in the program's own memory, so that its first use cannot fail. For `constinit`.
template <class T>
union immortal {
    constexpr immortal() noexcept : value{} {}
    ~immortal() {}

    T value;
};

} // namespace loomy
