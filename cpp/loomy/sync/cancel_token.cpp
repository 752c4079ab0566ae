#include "loomy/sync/cancel_token.hpp"

#include <array>
#include <cstddef>
#include <exception>
#include <mutex>
#include <utility>

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "loomy/base/cacheline.hpp"
#include "loomy/base/immortal.hpp"
#include "loomy/sync/address_wait.hpp"

namespace loomy {
namespace {

// The locks of all tokens. A fixed table, so that a fork can take them all: the child then finds every list
// whole, whatever other threads were doing. Held for a few instructions, and never two by one thread.
struct alignas(cache_line) padded_mutex {
    std::mutex mutex;
};

class lock_table {
  public:
    std::mutex& of(const void* address) noexcept {
        const auto bits = reinterpret_cast<std::uintptr_t>(address);
        return locks_[((bits >> 4) ^ (bits >> 10)) % count].mutex;
    }
    void lock_all() noexcept {
        for (padded_mutex& one : locks_) one.mutex.lock();
    }
    void unlock_all() noexcept {
        for (padded_mutex& one : locks_) one.mutex.unlock();
    }

  private:
    static constexpr std::size_t count = 32;
    std::array<padded_mutex, count> locks_{};
};

constinit immortal<lock_table> the_locks; // tokens outlive static destructors
constinit lock_table& locks = the_locks.value;

#if !defined(_WIN32)
[[maybe_unused]] const int fork_handlers =
    pthread_atfork([] { locks.lock_all(); }, [] { locks.unlock_all(); }, [] { locks.unlock_all(); });
#endif

} // namespace

void cancel_token::callback_list::append(callback_list& other) noexcept {
    if (other.first == nullptr) return;
    other.first->previous_ = last;
    (last != nullptr ? last->next_ : first) = other.first;
    last = other.last;
    other = {};
}

void cancel_token::callback_list::fire(cancel_reason reason) {
    while (first != nullptr) {
        callback* const one = std::exchange(first, first->next_); // `fired` may delete it
        one->fired(reason);
    }
}

void cancel_token::callback_list::abandon() noexcept {
    while (first != nullptr) std::exchange(first, first->next_)->abandoned();
}

std::unique_lock<std::mutex> cancel_token::lock() const {
    return std::unique_lock(locks.of(this));
}

cancel_token::cancel_token(deadline until, cancel_token* parent) noexcept : when_(until), parent_(parent) {
    if (parent != nullptr) parent->retain();
}

ref<cancel_token> cancel_token::make(deadline until, cancel_token* parent) {
    if (parent == nullptr) return ref<cancel_token>::adopt(new cancel_token(until, nullptr));
    auto child = ref<cancel_token>::adopt(new cancel_token(earlier(until, parent->when_), parent));
    const auto guard = parent->lock();
    const std::uint32_t state = parent->state_.load(std::memory_order_relaxed); // ordered by the lock
    if (state != 0) {
        child->state_.store(state, std::memory_order_relaxed); // nobody else has the child yet
        child->why_ = parent->why_;
        return child;
    }
    child->listed_ = true;
    child->next_ = parent->children_;
    if (child->next_ != nullptr) child->next_->previous_ = child.get();
    parent->children_ = child.get();
    return child;
}

cancel_reason cancel_token::check() {
    // (1) acquire: pairs with the store in mark (2); the caller sees what came before the cancel.
    if (state_.load(std::memory_order_acquire) == 0 && when_.passed())
        cancel(cancel_reason::deadline_exceeded);
    return static_cast<cancel_reason>(state_.load(std::memory_order_acquire));
}

bool cancel_token::cancel(cancel_reason reason, std::string_view detail) {
    if (poll() != cancel_reason::none) return false;
    ref<note> why;
    if (!detail.empty()) why = ref<note>::adopt(new note(detail));
    callback_list callbacks;
    cancel_token* children = nullptr;
    if (!mark(reason, why, callbacks, children)) return false;
    // In a loop, not by recursion: a tree may be thousands deep. All of it before anybody is woken, who might
    // go on with something that a token further on is about to stop.
    cancel_token* marked = nullptr;
    while (children != nullptr) {
        cancel_token* const child = std::exchange(children, children->next_);
        if (child->mark(reason, why, callbacks, children)) {
            child->next_ = std::exchange(marked, child);
        } else {
            child->release();
        }
    }
    wake_waiters();
    while (marked != nullptr) {
        cancel_token* const child = std::exchange(marked, marked->next_);
        child->wake_waiters();
        child->release();
    }
    // From here on no token is touched: a callback may drop the last reference to this one.
    callbacks.fire(reason);
    return true;
}

// Sets the state. Moves the callbacks and the children, with a reference each, to the caller's lists. False:
// this token was cancelled before.
bool cancel_token::mark(cancel_reason reason, const ref<note>& why, callback_list& callbacks,
                        cancel_token*& children) {
    const auto guard = lock();
    if (state_.load(std::memory_order_relaxed) != 0) return false;
    why_ = why;
    // (2) seq_cst: releases to the acquire loads (1, 3); and comes before the loads of waiters_ (4) and
    // watched_ (5), while wait() and watch_deadline() write those before they load the state.
    state_.store(static_cast<std::uint32_t>(reason), std::memory_order_seq_cst);
    callbacks.append(callbacks_);
    for (cancel_token* child = std::exchange(children_, nullptr); child != nullptr;) {
        cancel_token* const following = child->next_;
        child->listed_ = false;
        if (child->try_retain()) child->next_ = std::exchange(children, child);
        child = following; // a child that is dying waits for this lock, and finds that it is off the list
    }
    return true;
}

// Of a token that was marked.
void cancel_token::wake_waiters() noexcept {
    if (waiters_.load(std::memory_order_seq_cst) != 0) wake_all_at_address(&state_);    // (4)
    if (watched_.load(std::memory_order_seq_cst) != 0) timer::instance().cancel(*this); // (5)
}

std::string cancel_token::detail() const {
    ref<note> why;
    {
        const auto guard = lock();
        why = why_;
    }
    return why ? why->text : std::string();
}

cancel_wait cancel_token::wait(deadline until) {
    wait_status status = wait_status::woken;
    waiters_.fetch_add(1, std::memory_order_seq_cst); // before the load of the state: see (2)
    while (state_.load(std::memory_order_seq_cst) == 0 && !when_.passed() && !until.passed() &&
           status != wait_status::interrupted) {
        status = wait_on_address(state_, 0, earlier(until, when_));
    }
    waiters_.fetch_sub(1, std::memory_order_relaxed);
    if (check() != cancel_reason::none) return cancel_wait::cancelled; // (3): check acquires
    return status == wait_status::interrupted ? cancel_wait::interrupted : cancel_wait::timed_out;
}

bool cancel_token::add(callback& one, watch deadline_watch) {
    const bool watched = deadline_watch == watch::yes && !when_.is_never();
    if (watched && check() != cancel_reason::none) return false;
    {
        const auto guard = lock();
        if (state_.load(std::memory_order_relaxed) != 0) return false;
        one.listed_ = true;
        one.next_ = nullptr;
        one.previous_ = callbacks_.last;
        (callbacks_.last != nullptr ? callbacks_.last->next_ : callbacks_.first) = &one;
        callbacks_.last = &one;
    }
    if (!watched) return true;
    try {
        watch_deadline();
    } catch (const std::exception&) {
        if (remove(one)) throw;
    }
    return true;
}

bool cancel_token::remove(callback& one) noexcept {
    const auto guard = lock();
    // The state and the taking of the callbacks change together, so `one` is looked at only while it is here.
    if (state_.load(std::memory_order_relaxed) != 0 || !one.listed_) return false;
    one.listed_ = false;
    (one.previous_ != nullptr ? one.previous_->next_ : callbacks_.first) = one.next_;
    (one.next_ != nullptr ? one.next_->previous_ : callbacks_.last) = one.previous_;
    return true;
}

void cancel_token::watch_deadline() {
    const std::uint32_t incarnation = timer::incarnation();
    if (when_.is_never() || poll() != cancel_reason::none) return;
    if (watched_.load(std::memory_order_relaxed) == incarnation) return;
    // seq_cst: before the load of the state below; see (2).
    if (watched_.exchange(incarnation, std::memory_order_seq_cst) == incarnation) return;
    try {
        timer::instance().schedule(*this, when_);
    } catch (const std::exception&) {
        watched_.store(0, std::memory_order_relaxed);
        throw;
    }
    // A cancel that came between found nothing to take out of the timer.
    if (state_.load(std::memory_order_seq_cst) != 0) timer::instance().cancel(*this);
}

void cancel_token::expired() {
    const auto self = ref<cancel_token>::adopt(this); // claimed
    cancel(cancel_reason::deadline_exceeded);
}

bool cancel_token::try_retain() const noexcept {
    std::uint32_t count = count_.load(std::memory_order_relaxed);
    do {
        if (count == 0) return false;
        // Relaxed: the lock under which the token was found makes it visible.
    } while (!count_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed));
    return true;
}

void cancel_token::destroy(cancel_token* last) noexcept {
    // Up the chain in a loop: the last child may be what kept thousands of parents alive.
    while (last != nullptr) {
        cancel_token* const parent = last->parent_;
        // Relaxed: nobody else has a reference, and the last drop() acquired what they wrote.
        if (last->watched_.load(std::memory_order_relaxed) != 0) timer::instance().cancel(*last);
        if (parent != nullptr) {
            const auto guard = parent->lock();
            if (last->listed_) {
                (last->previous_ != nullptr ? last->previous_->next_ : parent->children_) = last->next_;
                if (last->next_ != nullptr) last->next_->previous_ = last->previous_;
            }
        }
        last->callbacks_.abandon();
        delete last;
        last = parent != nullptr && parent->drop() ? parent : nullptr;
    }
}

} // namespace loomy
