#pragma once

#include <utility>

#include "event_loop.hpp"
#include "gil.hpp"

namespace loomy::py {

// What a thread is in the middle of when it runs a job in between, as one that waits does: the exceptions it
// handles, its event loop. On a worker's own thread the job would find neither, and who runs it must make no
// difference: a bare `raise` would raise somebody else's exception, which the job's own would have as its
// context too, and asyncio.run would refuse to run a second loop. Not a guard, for the reason that
// handled_exceptions is none.
class hidden_surroundings {
  public:
    // Attached, with no error set.
    void hide(PyThreadState* thread = gil::this_thread()) {
        exceptions_.hide(thread);
        if (!asyncio_absence::was_seen()) loop_ = hide_running_loop();
    }
    // In the same frame, attached, with no error set: what the job raised is passed on afterwards.
    void restore() {
        exceptions_.restore();
        if (loop_ != nullptr) show_running_loop(std::exchange(loop_, nullptr));
    }

  private:
    gil::handled_exceptions exceptions_;
    PyObject* loop_ = nullptr;
};

} // namespace loomy::py
