#pragma once

#include <cfenv>

namespace loomy::py {

// The environment of floating-point arithmetic - rounding mode, treatment of subnormals, flags - that the
// calling thread has now, with all flags taken down, as NumPy does before a loop.
inline std::fenv_t clean_environment() noexcept {
    std::fenv_t mine;
    std::feclearexcept(FE_ALL_EXCEPT);
    std::fegetenv(&mine);
    return mine;
}

// The calling thread computes as the caller of the ufunc would, with all flags down; on leaving it is as it
// was.
class lent_environment {
  public:
    explicit lent_environment(const std::fenv_t& callers) noexcept {
        std::fegetenv(&own_);
        std::fesetenv(&callers);
    }
    ~lent_environment() { std::fesetenv(&own_); }
    lent_environment(const lent_environment&) = delete;
    lent_environment& operator=(const lent_environment&) = delete;

    [[nodiscard]] int raised() const noexcept { return std::fetestexcept(FE_ALL_EXCEPT); }

  private:
    std::fenv_t own_;
};

} // namespace loomy::py
