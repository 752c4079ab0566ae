#pragma once

#include <Python.h>

#include <string_view>

#include "loomy/base/ref.hpp"
#include "loomy/sync/cancel_token.hpp"

// loomy.Context: a cancel token and a chain of values. Everything here is called attached.
namespace loomy::py {

// Adds Context and CancelHandle to the module. 0, or -1 with an error set.
[[nodiscard]] int register_context(PyObject* module);

// A new Context of that token. `values` is what context_values() gave, or null. New reference; null with an
// error set.
[[nodiscard]] PyObject* context_from_token(ref<cancel_token> token, PyObject* values);

[[nodiscard]] bool is_context(PyObject* object) noexcept;

// Borrowed; lives as long as the Context. Null with TypeError set if that is something else.
[[nodiscard]] cancel_token* context_token(PyObject* context);

// Borrowed; null if there are none. `context` must be a Context.
[[nodiscard]] PyObject* context_values(PyObject* context) noexcept;

// The exception for a token that is cancelled: JobCancelled or DeadlineExceeded, with what cancel() was told.
// New reference, not raised; null with an error set.
[[nodiscard]] PyObject* cancel_error(const cancel_token& token);

// cancel_token::cancel with the words that `reason` (any object, or null) has for itself. 1: this call did
// it, 0: it was cancelled before, -1 with an error set.
[[nodiscard]] int cancel_with_reason(cancel_token& token, PyObject* reason);

} // namespace loomy::py
