#pragma once

#include <cstdint>

namespace loomy {

class job;
struct slot;

// What a thread that runs jobs needs from its surroundings, a worker's or a caller's; used by that thread
// alone. The bindings attach to and detach from the interpreter here; the core only says when.
class worker_env {
  public:
    // Before the first job, and again at each wake-up until it says yes: makes what the jobs need. False: it
    // could not be made (and the reason was kept); this worker can run nothing now.
    virtual bool ready(slot& self) = 0;
    // A job was taken and will be run next: get ready for its kind. May take long.
    virtual void enter(job& next) = 0;
    // About to search, wait or publish the last result: let go of whatever others may be waiting for.
    virtual void leave() = 0;
    // The worker leaves its pool; the last call on this thread.
    virtual void retire(slot& self) = 0;

  protected:
    ~worker_env() = default;
};

// What a pool tells its surroundings. Never called under a lock of the core.
class observer {
  public:
    // Starts a thread that calls pool::run_worker(self, ...). False: the system has no thread to give.
    virtual bool start_thread(slot& self) = 0;
    virtual void worker_joined(std::uint32_t id) = 0;
    virtual void worker_left(std::uint32_t id) = 0;
    // The job that `self` is running was abandoned: ask it to end early. Any thread.
    virtual void interrupt(slot& self) = 0;

  protected:
    ~observer() = default;
};

} // namespace loomy
