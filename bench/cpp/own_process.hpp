#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sample.hpp"

namespace bench {

// A contender in a process of its own, forked off: what one system leaves behind (threads that linger, heaps
// that grew) is in no other's way, and a crash or a hang is the row's alone. Between rounds it blocks in a
// read.
class own_process {
  public:
    using factory = std::function<std::unique_ptr<contender>()>;

    // The calling process must have one thread only.
    explicit own_process(const factory& make);
    ~own_process();
    own_process(const own_process&) = delete;
    own_process& operator=(const own_process&) = delete;

    // One round over there; nothing when the process crashed, threw or hung: failure() tells.
    [[nodiscard]] std::optional<sample> round();
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }

  private:
    [[noreturn]] static void serve(const factory& make, int orders, int answers);
    void fail(const std::string& why);

    pid_t child_ = -1;
    int orders_ = -1;  // we write
    int answers_ = -1; // we read
    std::string failure_;
};

} // namespace bench
