#pragma once

#include <Python.h>

#include <memory>
#include <optional>
#include <string>

#include "kernel_shapes.hpp"
#include "kernel_signature.hpp"
#include "loomy/kernel.h"
#include "loomy/kernel/pace.hpp"

namespace loomy::py {

// What a launch needs of a kernel, whatever it was made of.
struct kernel_facts {
    const loomy_kernel* kernel = nullptr; // somebody's, or `made`
    loomy_kernel made{};                  // of a bare function
    bare_function bare;
    argument_rule rule = argument_rule::as_declared;
    std::optional<kernel_signature> signature; // none: unchecked
    void* user_data = nullptr;
    std::int64_t grain = 0;
    std::string name; // UTF-8
    mutable cost_estimate cost;
};

// loomy.Kernel. Immutable. `source` is what it was made of, and keeps the library, the user data and all else
// alive that a launch uses; a launch holds a reference to the Kernel.
struct kernel_object {
    PyObject_HEAD vectorcallfunc call;
    PyObject* weak_references;
    PyObject* source;
    PyObject* name;
    PyObject* signature; // as text, or None
    PyObject* doc;       // or None
    PyObject* shape;     // "native", "range", "loop" or "element"
    kernel_facts* facts; // owned
};

extern PyTypeObject kernel_type;

// Null with TypeError set if it is something else.
[[nodiscard]] kernel_object* as_kernel(PyObject* object);

// loomy.Kernel, and what loomy.kernels makes one with. -1 with an error set.
[[nodiscard]] int register_kernel(PyObject* module);

} // namespace loomy::py
