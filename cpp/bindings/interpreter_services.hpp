#pragma once

namespace loomy::py {

// Gives the core what kernels may want of the interpreter (loomy/kernel/interpreter.hpp).
void provide_interpreter_services() noexcept;

} // namespace loomy::py
