#pragma once

// Runs several bodies on one thread and switches between them at chosen steps: every interleaving is
// possible, all of it is chosen by a seed, and no operating system's scheduler has a say in how long that
// takes. Not under ThreadSanitizer, which would have to be told about each switch and sees one thread anyway.

#if defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define LOOMY_TEST_FIBERS 1

#include <ucontext.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "queue_dice.hpp"

namespace queue_test {

class fibers {
  public:
    explicit fibers(std::size_t most) : stacks_(most) {
        for (auto& stack : stacks_) stack = std::make_unique<std::byte[]>(stack_bytes);
    }

    // `switch_percent`: how often a step hands over.
    void run(std::vector<std::function<void()>> bodies, std::size_t seed, unsigned switch_percent) {
        bodies_ = std::move(bodies);
        random_ = dice(seed);
        switch_percent_ = switch_percent;
        contexts_.resize(bodies_.size());
        std::vector<std::size_t> running;
        for (std::size_t i = 0; i < bodies_.size(); ++i) {
            getcontext(&contexts_[i]);
            contexts_[i].uc_stack.ss_sp = stacks_[i].get();
            contexts_[i].uc_stack.ss_size = stack_bytes;
            contexts_[i].uc_link = &scheduler_;
            makecontext(&contexts_[i], &fibers::enter, 0);
            running.push_back(i);
        }
        active_ = this;
        finished_ = false;
        while (!running.empty()) {
            current_ = running[random_.below(static_cast<std::uint32_t>(running.size()))];
            swapcontext(&scheduler_, &contexts_[current_]);
            if (!finished_) continue;
            std::erase(running, current_);
            finished_ = false;
        }
        active_ = nullptr;
    }

    // Inside a body; elsewhere it does nothing.
    static void step() {
        if (active_ == nullptr || active_->random_.below(100) >= active_->switch_percent_) return;
        swapcontext(&active_->contexts_[active_->current_], &active_->scheduler_);
    }
    [[nodiscard]] static bool active() { return active_ != nullptr; }
    [[nodiscard]] static std::size_t current() { return active_->current_; }

  private:
    static constexpr std::size_t stack_bytes = 256 * 1024;

    static void enter() {
        active_->bodies_[active_->current_]();
        active_->finished_ = true;
    }

    inline static fibers* active_ = nullptr;

    std::vector<std::unique_ptr<std::byte[]>> stacks_;
    std::vector<std::function<void()>> bodies_;
    std::vector<ucontext_t> contexts_;
    ucontext_t scheduler_{};
    dice random_;
    unsigned switch_percent_ = 0;
    std::size_t current_ = 0;
    bool finished_ = false;
};

} // namespace queue_test

#endif
