#pragma once

#include <Python.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel_signature.hpp"
#include "loomy/kernel.h"

namespace loomy::py {

// How launches of a kernel take their arguments.
enum class argument_rule : std::uint8_t {
    as_declared, // as the signature says; all of it unchecked if there is none
    one_block,   // range functions: none, or one whose address the function gets in place of its user data
    loop,        // NumPy loops: arrays along n, and what its signature says; without one, the last is written
    each_element // one or more inputs and the output: arrays of one shape, or numbers
};

// A bare function pointer and all that its adapter needs to know. What such a launch has as user_data.
struct bare_function {
    void (*address)() = nullptr;
    void* user = nullptr;
    // Of NumPy loops: the dimensions behind the first, each as the argument and the axis that has it.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> core_dimensions;
    // Of NumPy loops: whether an argument moves along n, by argument; empty: each array does.
    std::vector<bool> along_n;
    // Of NumPy loops: whether the argument moves along n; one that does not is given whole to each chunk.
    [[nodiscard]] bool moves(std::uint32_t i, const loomy_buffer& one) const noexcept {
        return along_n.empty() ? one.ndim != 0 : along_n[i];
    }
    std::uint32_t inputs = 0; // of functions of single elements; 0: as many as there are
    loomy_dtype element{};    // of those
};

// A kind of function pointer that a kernel can be made of.
struct bare_shape {
    const char* abi;   // result and parameters as classes with sizes: "v(i8,i8,p)"
    const char* shape; // of the four: range, loop, element, native
    argument_rule rule;
    loomy_run_fn run; // null: the function itself
    std::uint32_t inputs;
    loomy_dtype element;
};

// Null if there is none of that ABI.
[[nodiscard]] const bare_shape* find_bare_shape(std::string_view abi) noexcept;

// A list of (abi, shape) for error messages. New reference; null with an error set.
[[nodiscard]] PyObject* bare_shapes_for_python();

// What a NumPy loop has to know of its signature.
void describe_loop(const kernel_signature& signature, bare_function& into);

} // namespace loomy::py
