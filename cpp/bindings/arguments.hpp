#pragma once

#include <Python.h>

#include <array>
#include <cstddef>
#include <initializer_list>

namespace loomy::py {

// The parameters of a function that is called with METH_FASTCALL | METH_KEYWORDS or by vectorcall. Made once
// and kept for ever, as a static of the function that uses it: it has no destructor, for at the end of the
// process threads may still be calling.
class argument_names {
  public:
    static constexpr std::size_t most = 8;

    // At most `most` names.
    argument_names(std::initializer_list<const char*> names);

    // Fills `out`, which has a place for each name, with borrowed references, null for what was not given.
    // The first `required` must be given; at most `positional` may come without a name. False with TypeError
    // set.
    [[nodiscard]] bool parse(const char* function, PyObject* const* args, Py_ssize_t count,
                             PyObject* keywords, Py_ssize_t required, Py_ssize_t positional,
                             PyObject** out) const;

  private:
    std::array<PyObject*, most> names_{}; // interned, so that a name from source code is found by its address
    std::size_t count_ = 0;
};

// A METH_FASTCALL (| METH_KEYWORDS) function as a PyMethodDef wants it. By way of void*, or the compiler
// warns of the cast, which is what the flags undo.
template <class Function>
[[nodiscard]] PyCFunction as_method(Function* function) noexcept {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

} // namespace loomy::py
