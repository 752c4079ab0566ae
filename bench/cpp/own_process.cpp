#include "own_process.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>
#include <thread>
#include <type_traits>

namespace bench {
namespace {

static_assert(std::is_trivially_copyable_v<sample>, "it goes through a pipe byte by byte");

constexpr int patience_ms = 60'000; // a round takes tens of milliseconds, a warm-up perhaps a second

std::system_error system_error(const char* what) {
    return {errno, std::generic_category(), what};
}

} // namespace

own_process::own_process(const factory& make) {
    int orders[2];
    int answers[2];
    if (pipe(orders) != 0 || pipe(answers) != 0) throw system_error("pipe");
    std::fflush(nullptr); // or the child would print it once more
    child_ = fork();
    if (child_ < 0) throw system_error("fork");
    if (child_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(orders[1]);
        close(answers[0]);
        serve(make, orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    orders_ = orders[1];
    answers_ = answers[0];
}

own_process::~own_process() {
    close(orders_);
    close(answers_);
    if (child_ <= 0) return;
    kill(child_, SIGKILL); // it has nothing to save
    waitpid(child_, nullptr, 0);
}

void own_process::serve(const factory& make, int orders, int answers) {
    try {
        // What is measured is for processes that have threads. In one that never had a second, glibc takes a
        // mutex without locked instructions.
        std::thread([] {
            while (true) pause();
        }).detach();
        const std::unique_ptr<contender> measured = make();
        char order = 0;
        while (read(orders, &order, 1) == 1) {
            const sample taken = measured->round();
            if (write(answers, &taken, sizeof taken) != static_cast<ssize_t>(sizeof taken)) break;
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        _exit(2);
    }
    _exit(0);
}

std::optional<sample> own_process::round() {
    if (!failure_.empty()) return {};
    const char order = 'r';
    if (write(orders_, &order, 1) != 1) {
        fail("it does not listen");
        return {};
    }
    sample taken;
    std::size_t got = 0;
    while (got < sizeof taken) {
        pollfd ready{answers_, POLLIN, 0};
        const int polled = poll(&ready, 1, patience_ms);
        if (polled < 0 && errno == EINTR) continue;
        if (polled == 0) {
            fail("no answer after a minute");
            return {};
        }
        const ssize_t bytes = read(answers_, reinterpret_cast<char*>(&taken) + got, sizeof taken - got);
        if (bytes <= 0) {
            int status = 0;
            waitpid(child_, &status, 0);
            child_ = -1;
            fail(WIFSIGNALED(status) ? std::string("died of ") + strsignal(WTERMSIG(status))
                                     : "ended with code " + std::to_string(WEXITSTATUS(status)));
            return {};
        }
        got += static_cast<std::size_t>(bytes);
    }
    if (taken.wrong[0] != 0) {
        fail(std::string("wrong answer: ") + taken.wrong);
        return {};
    }
    return taken;
}

void own_process::fail(const std::string& why) {
    failure_ = why;
}

} // namespace bench
