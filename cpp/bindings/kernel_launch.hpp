#pragma once

#include <Python.h>

#include "async_result.hpp"
#include "kernel_arguments.hpp"
#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"
#include "python_pool.hpp"

namespace loomy::py {

// A launch that Python asked for. It holds its arguments until the last chunk has ended, whoever waits for
// it, and an AsyncResult can be its answer. No thread attaches because of it: it ends, and the answer with
// it, on whatever thread that happens; what is Python's is let go by who comes by attached.
class python_launch final : public launch {
  public:
    python_launch(pool& home, const launch_request& what, ends how, ref<kernel_arguments> arguments) noexcept
        : launch(home, what, how), arguments_(std::move(arguments)) {}

    // Before it is submitted: `answer`, whose job is made for this launch, ends when the launch does.
    void ends_answer(async_result& answer);
    // It was not submitted after all: the answer is dropped.
    void forget_answer();

    [[nodiscard]] kernel_arguments& arguments() const noexcept { return *arguments_; }

  private:
    void released() override { arguments_->done_with(); }

    struct answer_listener : listener {
        python_launch* of = nullptr;
        async_result* answer = nullptr; // held by a hold of its job
    };
    static void give_answer(listener& node);

    const ref<kernel_arguments> arguments_;
    answer_listener listener_;
};

// Ends the launch that this is the answer of, as result.cancel() does, and the answer with it.
bool cancel_launch(python_job& answer);

// Inside a job: takes part in the launch that this is the answer of, which follows within the same call. As
// wait_for.
[[nodiscard]] int help_with_launch(python_job& answer, deadline until);

// n, chunks, grain and the limits of a launch, as its caller gave them.
struct launch_options {
    PyObject* n = nullptr;
    PyObject* chunks = nullptr;
    PyObject* grain = nullptr;
};

// Kernel.__call__: on the default pool, until all of it has ended. None, or null with an error set.
PyObject* call_kernel(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names);
// Pool.launch is pool_launch, in pool_object.hpp.

} // namespace loomy::py
