#pragma once

// Relacy (https://github.com/dvyukov/relacy) runs threads as fibers, tries many interleavings and everything
// that the C++ memory model lets a load return, and finds data races, deadlocks and failed assertions.
// Without its macros, which rename what the standard library has.

#include <relacy/relacy.hpp>

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

#include <cstdio>
#include <ostream>
#include <streambuf>

namespace models {

// What Relacy tells, the beginning of it. It allocates nothing, since Relacy has an operator new of its own.
class story : public std::streambuf {
  public:
    story() { setp(text_, text_ + sizeof text_ - 1); }
    [[nodiscard]] const char* text() {
        *pptr() = '\0';
        return text_;
    }

  protected:
    int_type overflow(int_type letter) override { return letter; } // the rest is lost

  private:
    char text_[100'000];
};

// Whether so many executions end as they should: well, or, with a bug planted, not.
template <class Suite>
[[nodiscard]] bool ends_as_it_should(const char* what, rl::iteration_t executions, bool should_end_well,
                                     rl::scheduler_type_e search = rl::random_scheduler_type) {
    story heard;
    std::ostream listener(&heard);
    rl::test_params how;
    how.iteration_count = executions;
    how.search_type = search;
    how.context_bound = 3;
    how.execution_depth_limit = 20'000;
    how.output_stream = &listener;
    how.progress_stream = &listener;
    const bool well = rl::simulate<Suite>(how);
    std::printf("%-52s %s after %lu executions\n", what, rl::test_result_str(how.test_result),
                static_cast<unsigned long>(well ? executions : how.stop_iteration));
    if (well == should_end_well) return true;
    std::printf("%s\nIt should have ended %s.\n", heard.text(), well ? "badly" : "well");
    return false;
}

} // namespace models
