#pragma once

#include <Python.h>

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
    // Attached, with no error set. Mostly there is nothing to hide.
    void hide() {
        if (gil::handled_exceptions::any() || !asyncio_absence::was_seen()) hide_what_there_is();
    }
    // In the same frame, attached, with no error set: what the job raised is passed on afterwards.
    void restore() {
        if (hides_) show();
    }

  private:
    void hide_what_there_is();
    void show();

    bool hides_ = false;
    gil::handled_exceptions exceptions_;
    PyObject* loop_; // null if none ran; as the exceptions, only while they are hidden
};

} // namespace loomy::py
