#pragma once

#include <Python.h>

#include "python_pool.hpp"

namespace loomy::py {

// Starts a threading.Thread that runs the worker `self`. New reference; null with an error set.
[[nodiscard]] PyObject* start_worker_thread(python_pool& home, slot& self);

// A starter for the core's service threads (timer, interrupter), as threading.Thread too.
[[nodiscard]] bool start_service_thread(void (*entry)(void*), void* argument);

// Removes the threads that have ended from a list of threads.
void prune_ended_threads(PyObject* threads);

} // namespace loomy::py
