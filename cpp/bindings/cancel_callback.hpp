#pragma once

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "deferred.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/sync/cancel_token.hpp"

namespace loomy::py {

// A Python function that a token calls. Held by the token until it fires, is closed or the token dies, and by
// the CancelHandle. It does not hold the token: a function nobody can call any more would keep itself alive.
class cancel_callback final : public cancel_token::callback, private deferred::node {
  public:
    // Takes a new reference to the function. Attached.
    explicit cancel_callback(PyObject* function) noexcept : function_(Py_NewRef(function)) {}

    void fired(cancel_reason reason) override;
    void abandoned() noexcept override;

    // After this the function is not running and will not run, unless it is this thread that runs it.
    // Attached. -1 with an error set if a signal handler raised while waiting for the function to return.
    [[nodiscard]] int close(cancel_token& token);
    // The same without waiting. False: it had been closed before, or is taken by the firing thread.
    bool drop(cancel_token& token);

    // Of a callback that is waiting to be called.
    [[nodiscard]] PyObject* function() const noexcept { return function_; }

    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    // acq_rel: the last owner must see every write the others made before letting go.
    void release() const noexcept {
        if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

  private:
    enum state : std::uint32_t { waiting, closed, running, done };

    ~cancel_callback() = default;
    void destroy() override; // of a deferred::node
    void finish() noexcept;

    mutable std::atomic<std::uint32_t> count_{2}; // the token's and the handle's
    std::atomic<std::uint32_t> state_{waiting};   // who takes it out of `waiting` owns the function
    PyObject* function_;
    std::thread::id runner_{}; // written before `running` is
};

} // namespace loomy::py
