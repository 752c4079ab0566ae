#pragma once

#include <Python.h>

#include <cstdint>

#include "python_pool.hpp"

namespace loomy::py {

// Work over items 0, 1, ... that threads may share.
class chunk_body {
  public:
    // Runs items [begin, end), detached, on any thread and beside others. False: it failed, and may have left
    // a Python error on this thread's state.
    [[nodiscard]] virtual bool run(std::int64_t begin, std::int64_t end) = 0;

  protected:
    ~chunk_body() = default;
};

enum class chunks_end : std::uint8_t {
    done,
    refused, // nothing was run: the pool is full, has no thread, or only this thread to do it
    failed,  // a Python error is set
};

// Runs all items, on the workers of `home` and, where it may, on this thread; returns when no thread runs any
// more. The first failure ends the rest, and so does Ctrl-C. Attached; waits detached.
[[nodiscard]] chunks_end run_chunks(python_pool& home, std::int64_t items, chunk_body& body);

// The same on this thread alone.
[[nodiscard]] chunks_end run_here(std::int64_t items, chunk_body& body);

} // namespace loomy::py
