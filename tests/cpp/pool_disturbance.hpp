#pragma once

// Holds threads up at random instructions: another thread sends them signals whose handler takes its time. A
// window of a few nanoseconds between two steps of a protocol becomes one of microseconds, some thousand
// times a second.

#if defined(__linux__)

#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

namespace loomy::testing {

class disturbance {
  public:
    disturbance() {
        struct sigaction action = {};
        action.sa_handler = &hold_up;
        sigaction(SIGUSR2, &action, &before_);
        thread_ = std::thread([this] { send(); });
    }
    ~disturbance() {
        stop_ = true;
        thread_.join();
        sigaction(SIGUSR2, &before_, nullptr);
    }
    disturbance(const disturbance&) = delete;
    disturbance& operator=(const disturbance&) = delete;

    // The calling thread is held up from now on.
    void include_this_thread() {
        const std::lock_guard guard(lock_);
        threads_.push_back(syscall(SYS_gettid));
    }

  private:
    static void hold_up(int) {
        const int error = errno;
        doze(); // not a spin: on a busy machine the others need the CPU
        errno = error;
    }

    static void doze() {
        timespec shortly = {0, 1'000};
        nanosleep(&shortly, nullptr);
    }

    void send() {
        std::mt19937 random(1);
        while (!stop_) {
            {
                const std::lock_guard guard(lock_);
                // By number: the kernel knows whether that thread still exists.
                if (!threads_.empty())
                    syscall(SYS_tgkill, getpid(), threads_[random() % threads_.size()], SIGUSR2);
            }
            doze();
            // Not as often as a thread that has no fellow sleeps: it would be held up again each time it goes
            // on, and get nowhere.
            if (random() % 2 == 0) doze();
        }
    }

    struct sigaction before_ = {};
    std::atomic<bool> stop_{false};
    std::mutex lock_;
    std::vector<long> threads_; // guarded by lock_
    std::thread thread_;
};

} // namespace loomy::testing

#endif
