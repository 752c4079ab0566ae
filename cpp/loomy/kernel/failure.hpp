#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "loomy/kernel/partition.hpp"

namespace loomy {

// The first error of a launch. Any number of threads report, one is kept.
class first_failure {
  public:
    first_failure() noexcept = default;
    ~first_failure();
    first_failure(const first_failure&) = delete;
    first_failure& operator=(const first_failure&) = delete;

    // True: this is the one. Then `keep` puts down the rest.
    [[nodiscard]] bool claim() noexcept {
        return !claimed_.load(std::memory_order_relaxed) &&
               !claimed_.exchange(true, std::memory_order_relaxed);
    }
    // By the one who claimed it. A message for which there is no memory is lost, the code is not.
    void keep(int code, std::string_view message, index_range where, void* foreign = nullptr,
              bool is_of_loop = false) noexcept;

    // While nobody can report.
    void forget() noexcept;

    // Once all who might report have ended, by one who knows it from a word of the launch.
    [[nodiscard]] bool happened() const noexcept { return code_ != 0; }
    [[nodiscard]] int code() const noexcept { return code_; }
    [[nodiscard]] std::string_view message() const noexcept { return message_; }
    [[nodiscard]] index_range where() const noexcept { return where_; }
    // Whether those items are of a loop inside a chunk.
    [[nodiscard]] bool is_of_loop() const noexcept { return is_of_loop_; }
    // What the interpreter had as its error (see interpreter_services); the caller's from now on. What nobody
    // takes is let go of with this.
    [[nodiscard]] void* take_foreign() noexcept;

  private:
    std::atomic<bool> claimed_{false};
    bool is_of_loop_ = false;
    int code_ = 0;
    index_range where_{0, 0};
    void* foreign_ = nullptr;
    std::string message_;
};

} // namespace loomy
