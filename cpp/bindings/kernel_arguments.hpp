#pragma once

#include <Python.h>

#include <atomic>
#include <memory>

#include "buffer_argument.hpp"
#include "deferred.hpp"
#include "kernel_object.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/kernel.h"

namespace loomy::py {

// The arguments of one launch, checked, and held with their kernel until no chunk uses them any more. The
// launch and its submitter share it; whatever in it is Python's is let go attached.
class kernel_arguments final : public deferred::node, public ref_counted<kernel_arguments> {
  public:
    // Checks everything before anything is started. `n` may be null: the iteration space, if the caller says
    // it. Null with an error set: TypeError, ValueError or BufferError, which names the argument.
    [[nodiscard]] static ref<kernel_arguments> take(kernel_object& kernel, PyObject* const* args,
                                                    std::uint32_t count, const std::int64_t* n);

    [[nodiscard]] const loomy_buffer* buffers() const noexcept { return buffers_.get(); }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] std::int64_t total() const noexcept { return total_; }

    // No chunk uses them any more. Any thread; one that is detached leaves the rest to the next that is
    // attached, or to the interpreter's main thread.
    void done_with();
    // Attached: what done_with left, at once. Nothing if it was not called yet. Another thread that is at it
    // is waited for, so that the caller finds its arrays free.
    void let_go_if_done();

    void destroy() override;

  private:
    friend class ref_counted<kernel_arguments>;
    kernel_arguments(kernel_object& kernel, std::uint32_t count);
    ~kernel_arguments() = default;

    // `watched`: leaving, and another thread waits for that.
    enum state : std::uint32_t { in_use, done, leaving, watched, gone };

    void let_go();
    bool leave(std::uint32_t from);
    void wait_until_gone();

    const std::unique_ptr<loomy_buffer[]> buffers_;
    const std::unique_ptr<held_argument[]> held_;
    const std::uint32_t count_;
    std::int64_t total_ = 0;
    PyObject* kernel_; // a kernel_object
    std::atomic<std::uint32_t> state_{in_use};
    std::atomic<unsigned long> leaver_{0}; // the thread that lets go
};

} // namespace loomy::py
