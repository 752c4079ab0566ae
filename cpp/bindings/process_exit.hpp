#pragma once

#include <Python.h>

namespace loomy::py {

// Whether the interpreter has begun to exit: pools have been closed, and nobody is to be warned any more.
[[nodiscard]] bool is_exiting() noexcept;
// The executors have run what was submitted to them: nobody will wait for more.
[[nodiscard]] bool is_past_exit() noexcept;

// Arranges for what happens at exit and at a fork. -1 with an error set.
[[nodiscard]] int register_process_events(PyObject* module);

} // namespace loomy::py
