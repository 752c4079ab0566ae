#include "loomy/sync/timer.hpp"

#include <new>
#include <system_error>
#include <thread>
#include <utility>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

#include "loomy/sync/address_wait.hpp"

namespace loomy {

// Never destroyed: deadlines may be scheduled and cancelled while static destructors run.
struct timer_storage {
    constexpr timer_storage() noexcept : value() {}
    ~timer_storage() {}
    union {
        timer value;
    };
};

namespace {

constinit timer_storage the_timer;
constinit std::atomic<std::uint32_t> forks{1};

bool start_detached_thread(timer::thread_entry entry, void* argument) {
#if !defined(_WIN32)
    // A new thread inherits the mask; a signal is for the threads that expect one.
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
#endif
    bool started = true;
    try {
        std::thread(entry, argument).detach();
    } catch (const std::exception&) {
        started = false;
    }
#if !defined(_WIN32)
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    return started;
}

constinit std::atomic<timer::thread_starter> starter{&start_detached_thread};

// The number of the timer thread that this thread is, or 0.
constinit thread_local std::uintptr_t own_generation = 0;

} // namespace

struct timer::thread_scope {
    timer& owner;

    // Also when the thread is unwound by force.
    ~thread_scope() {
        if (own_generation == 0) return; // this thread forked: in the child it is no timer thread
        {
            const std::lock_guard guard(owner.lock_);
            if (owner.generation_ == own_generation) owner.running_ = false;
            --owner.threads_;
            // Relaxed: the reader reads it under the lock, or the kernel compares it.
            owner.endings_.fetch_add(1, std::memory_order_relaxed);
        }
        wake_all_at_address(&owner.endings_);
        own_generation = 0;
    }
};

timer& timer::instance() noexcept {
    return the_timer.value;
}

void timer::set_thread_starter(thread_starter replacement) noexcept {
    // Release: pairs with the load in start_thread (1), so that what the starter needs is visible there.
    starter.store(replacement != nullptr ? replacement : &start_detached_thread, std::memory_order_release);
}

std::uint32_t timer::incarnation() noexcept {
    return forks.load(std::memory_order_relaxed); // changes only while there is one thread
}

void timer::schedule(timer_entry& entry, deadline until) {
    if (until.is_never()) {
        cancel(entry);
        return;
    }
    std::uintptr_t start = 0;
    bool wake = false;
    {
        const std::lock_guard guard(lock_);
        if (!holds(entry)) {
            heap_.push_back({until.ns(), ++sequence_, &entry});
            entry.place_ = heap_.size() - 1;
        } else {
            heap_[entry.place_].when = until.ns();
            heap_[entry.place_].sequence = ++sequence_;
        }
        sift_down(entry.place_);
        sift_up(entry.place_);
        if (!running_) {
            running_ = true;
            ++threads_;
            start = ++generation_;
        } else if (until.ns() < sleeping_until_) {
            sleeping_until_ = until.ns();                     // one wake will do
            changes_.fetch_add(1, std::memory_order_relaxed); // ordered by the lock, compared by the kernel
            wake = true;
        }
    }
    if (start != 0) start_thread(start, entry);
    if (wake) wake_all_at_address(&changes_);
}

void timer::start_thread(std::uintptr_t generation, timer_entry& entry) {
    // (1) acquire: pairs with set_thread_starter.
    const thread_starter start = starter.load(std::memory_order_acquire);
    if (start(&thread_main, reinterpret_cast<void*>(generation))) return;
    {
        const std::lock_guard guard(lock_);
        if (generation_ == generation) running_ = false;
        --threads_;
        endings_.fetch_add(1, std::memory_order_relaxed);
    }
    wake_all_at_address(&endings_);
    // Others may have scheduled in the meantime; their entries stay and fire once a thread can be started. If
    // this one has fired already, another call had better luck.
    if (cancel(entry)) {
        throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                                "loomy: the timer thread could not be started");
    }
}

bool timer::cancel(timer_entry& entry) noexcept {
    const std::lock_guard guard(lock_);
    if (!holds(entry)) return false;
    erase(entry.place_);
    return true;
}

bool timer::stop(deadline until) {
    timer& self = instance();
    {
        const std::lock_guard guard(self.lock_);
        ++self.generation_;
        self.running_ = false;
        self.changes_.fetch_add(1, std::memory_order_relaxed);
    }
    wake_all_at_address(&self.changes_);
    if (own_generation != 0) return false;
    for (;;) {
        std::uint32_t seen;
        {
            const std::lock_guard guard(self.lock_);
            if (self.threads_ == (self.running_ ? 1u : 0u)) return true;
            seen = self.endings_.load(std::memory_order_relaxed);
        }
        if (until.passed()) return false;
        (void)wait_on_address(self.endings_, seen, until);
    }
}

void timer::reset_after_fork() noexcept {
    // Not destroyed first: the lock may be held and the heap half changed. The old heap's memory is lost.
    const std::uintptr_t generation = the_timer.value.generation_;
    new (&the_timer.value) timer;
    the_timer.value.generation_ = generation + 1; // ends the loop of a timer thread that forked
    own_generation = 0;
    forks.fetch_add(1, std::memory_order_relaxed);
}

std::size_t timer::scheduled() const noexcept {
    const std::lock_guard guard(lock_);
    return heap_.size();
}

bool timer::running() const noexcept {
    const std::lock_guard guard(lock_);
    return running_;
}

void timer::thread_main(void* argument) {
    own_generation = reinterpret_cast<std::uintptr_t>(argument);
    const thread_scope scope{instance()};
    instance().run(own_generation);
}

void timer::run(std::uintptr_t generation) {
    std::unique_lock guard(lock_);
    while (generation_ == generation) {
        deadline earliest = deadline::never();
        if (!heap_.empty()) {
            earliest = deadline::at(heap_.front().when);
            if (earliest.passed()) {
                timer_entry& entry = *heap_.front().entry;
                erase(0);
                // Asked under the lock: whoever destroys the owner cancels the entry first, and so is still
                // waiting for this lock.
                if (!entry.claim()) continue;
                guard.unlock();
                entry.expired();
                guard.lock();
                continue;
            }
        }
        sleeping_until_ = earliest.ns();
        const std::uint32_t seen = changes_.load(std::memory_order_relaxed);
        guard.unlock();
        (void)wait_on_address(changes_, seen, earliest);
        guard.lock();
        // A thread that has been replaced leaves the sleep of its successor alone.
        if (generation_ == generation) sleeping_until_ = awake;
    }
}

bool timer::holds(const timer_entry& entry) const noexcept {
    // The place may be from before a fork, so the heap has the last word.
    return entry.place_ < heap_.size() && heap_[entry.place_].entry == &entry;
}

void timer::put(std::size_t place, const slot& what) noexcept {
    heap_[place] = what;
    what.entry->place_ = place;
}

void timer::sift_up(std::size_t place) noexcept {
    const slot moving = heap_[place];
    while (place > 0) {
        const std::size_t above = (place - 1) / 2;
        if (!moving.before(heap_[above])) break;
        put(place, heap_[above]);
        place = above;
    }
    put(place, moving);
}

void timer::sift_down(std::size_t place) noexcept {
    const slot moving = heap_[place];
    for (;;) {
        std::size_t below = 2 * place + 1;
        if (below >= heap_.size()) break;
        if (below + 1 < heap_.size() && heap_[below + 1].before(heap_[below])) ++below;
        if (!heap_[below].before(moving)) break;
        put(place, heap_[below]);
        place = below;
    }
    put(place, moving);
}

void timer::erase(std::size_t place) noexcept {
    heap_[place].entry->place_ = timer_entry::nowhere;
    const slot last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    put(place, last);
    sift_down(place);
    sift_up(last.entry->place_);
}

} // namespace loomy
