#include "loomy/exec/interrupter.hpp"

#include <exception>
#include <new>
#include <thread>

#include "loomy/exec/job.hpp"
#include "loomy/exec/pool.hpp"

#if !defined(_WIN32)
#include <csignal>
#endif

namespace loomy {
namespace {

bool start_plain_thread(timer::thread_entry entry, void* argument) {
#if !defined(_WIN32)
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // the new thread inherits it
#endif
    bool started = true;
    try {
        std::thread(entry, argument).detach();
    } catch (const std::exception&) { // no thread, or no memory for one
        started = false;
    }
#if !defined(_WIN32)
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    return started;
}

std::atomic<timer::thread_starter> starter{&start_plain_thread};

alignas(interrupter) unsigned char storage[sizeof(interrupter)];

} // namespace

interrupter& interrupter::instance() noexcept {
    // Never destroyed: threads may still use it while static destructors run.
    static auto* const the_one = new (storage) interrupter;
    return *the_one;
}

void interrupter::set_thread_starter(timer::thread_starter how) noexcept {
    starter.store(how != nullptr ? how : &start_plain_thread, std::memory_order_relaxed);
}

void interrupter::deliver(pool& home, job* which) {
    std::list<request> one;
    try {
        one.push_back({ref<pool>::share(&home), which});
    } catch (const std::bad_alloc&) {
        return; // as without a thread: it is delivered when the job ends
    }
    bool start = false;
    {
        const std::lock_guard guard(lock_);
        requests_.splice(requests_.end(), one);
        if (which != nullptr) which->add_hold();
        start = !std::exchange(running_, true);
        stopping_ = false;
    }
    sleep_.unpark();
    if (start && !starter.load(std::memory_order_relaxed)(&thread_main, this)) {
        std::list<request> undeliverable;
        {
            const std::lock_guard guard(lock_);
            running_ = false;
            undeliverable.swap(requests_);
        }
        for (const request& each : undeliverable) {
            if (each.which != nullptr && each.which->drop_hold()) each.which->dispose();
        }
    }
}

void interrupter::thread_main(void* self) {
    static_cast<interrupter*>(self)->run();
}

void interrupter::run() {
    for (;;) {
        request next{};
        {
            const std::lock_guard guard(lock_);
            if (stopping_) {
                running_ = false;
                break;
            }
            if (!requests_.empty()) {
                next = std::move(requests_.front());
                requests_.pop_front();
            }
        }
        if (!next.home) {
            (void)sleep_.park();
            continue;
        }
        next.home->interrupt_running(next.which);
        if (next.which != nullptr && next.which->drop_hold()) next.which->dispose();
    }
    endings_.fetch_add(1, std::memory_order_seq_cst);
    wake_all_at_address(&endings_);
}

bool interrupter::stop(deadline until) {
    interrupter& self = instance();
    {
        const std::lock_guard guard(self.lock_);
        if (!self.running_) return true;
        self.stopping_ = true;
    }
    self.sleep_.unpark();
    for (;;) {
        const std::uint32_t seen = self.endings_.load(std::memory_order_seq_cst);
        {
            const std::lock_guard guard(self.lock_);
            if (!self.running_) return true;
        }
        if (wait_on_address(self.endings_, seen, until) == wait_status::timed_out) return false;
    }
}

void interrupter::reset_after_fork() noexcept {
    // The requests belong to pools that are dead here; their memory is left alone.
    new (&instance()) interrupter;
}

} // namespace loomy
