#pragma once

#include <exception>
#include <thread>

#include "loomy/exec/observer.hpp"
#include "loomy/exec/pool.hpp"

namespace loomy {

// The plainest surroundings of a pool: std::threads, nothing to attach to. For C++ users and for tests.
class native_env : public worker_env {
  public:
    bool ready(slot&) override { return true; }
    void enter(job&) override {}
    void leave() override {}
    void retire(slot&) override {}
};

class native_threads : public observer {
  public:
    bool start_thread(slot& self) override {
        try {
            std::thread([&self, home = &self.owner] {
                native_env env;
                home->run_worker(self, env);
                home->release(); // the thread's reference
            }).detach();
        } catch (const std::exception&) { // no thread, or no memory for one
            return false;
        }
        return true;
    }
    void worker_joined(std::uint32_t) override {}
    void worker_left(std::uint32_t) override {}
    void interrupt(slot&) override {}
};

} // namespace loomy
