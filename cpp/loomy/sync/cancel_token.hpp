#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "loomy/base/clock.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/sync/timer.hpp"

namespace loomy {

enum class cancel_reason : std::uint32_t { none = 0, cancelled = 1, deadline_exceeded = 2 };

enum class cancel_wait : std::uint8_t {
    cancelled,   // the token is cancelled
    timed_out,   // the wait's deadline passed, the token's did not
    interrupted, // a signal handler ran on this thread
};

// Tells a tree of work to stop. Cancelling a token cancels the tokens below it; it happens once and is never
// taken back. A child holds its parent; a parent only knows its children, and forgets each as it dies.
//
// The token counts its own references, with the interface of ref_counted: a parent must be able to take a
// reference to a child unless that is dying already, and a chain of parents is released in a loop.
class cancel_token final : private timer_entry {
  public:
    class callback;
    // Whether add() sees to it that the token's deadline is noticed.
    enum class watch : bool { no, yes };

    // The deadline is the earlier of `until` and the parent's. A child of a cancelled parent is born
    // cancelled. Throws std::bad_alloc. Blocking: takes the parent's lock for a few instructions.
    [[nodiscard]] static ref<cancel_token> make(deadline until = deadline::never(),
                                                cancel_token* parent = nullptr);

    // One relaxed load: what a loop polls. A passed deadline shows here once somebody noticed it: check(),
    // wait(), or the timer after watch_deadline(). Wait-free.
    [[nodiscard]] cancel_reason poll() const noexcept {
        return static_cast<cancel_reason>(state_.load(std::memory_order_relaxed));
    }
    // The same for kernels: anything but 0 means stop.
    [[nodiscard]] const std::atomic<std::uint32_t>& flag() const noexcept { return state_; }

    // Looks at the clock as well: a deadline that has passed cancels the token here and now, callbacks
    // included.
    cancel_reason check();

    // The first call wins; true if this is the one. Marks the whole tree below and wakes its waiters, then
    // fires the callbacks on this thread, the parent's before its children's, under no lock. `detail` is for
    // people: why. Throws std::bad_alloc before anything has changed.
    bool cancel(cancel_reason reason = cancel_reason::cancelled, std::string_view detail = {});

    [[nodiscard]] deadline when() const noexcept { return when_; }
    [[nodiscard]] cancel_token* parent() const noexcept { return parent_; }
    // What cancel() was given, on this token or on the one above that took it along.
    [[nodiscard]] std::string detail() const;

    // Waits until the token is cancelled. Its own deadline ends the wait whether or not a timer watches it.
    // Never returns for no reason.
    [[nodiscard]] cancel_wait wait(deadline until = deadline::never());

    // False: the token is cancelled already and the callback was not added. After true the callback may have
    // fired before add returns. With watch::yes a deadline is watched by the timer (throws what
    // watch_deadline throws, the callback is not added then); with watch::no the caller sees to it. Who adds
    // a callback keeps the token alive until it is removed or has fired, or learns of the token's end from
    // callback::abandoned.
    bool add(callback& one, watch deadline_watch = watch::yes);
    // True: removed, will never fire. False: it was never added, or it has been taken for firing, and belongs
    // to the firing thread: only its address was used.
    bool remove(callback& one) noexcept;

    // If the caller's reference is the only one, calls visit(callback&) for each callback, under the token's
    // lock: only look. For garbage collectors, which must know what an object owns through its token.
    template <class Visit>
    void visit_if_unshared(Visit&& visit) {
        const std::unique_lock<std::mutex> guard = lock();
        // Acquire: pairs with drop(). A parent that cancels may take a reference now, but not the callbacks.
        if (count_.load(std::memory_order_acquire) != 1) return;
        for (callback* one = callbacks_.first; one != nullptr; one = next_of(*one)) visit(*one);
    }

    // Lets the timer cancel the token at its deadline. Once is enough; does nothing without a deadline or
    // when cancelled. The timer does not keep the token alive, and lets go of it as soon as it is cancelled
    // or dies. Throws what timer::schedule throws.
    void watch_deadline();

    // Relaxed: who copies a reference already holds one, so nothing is published by it.
    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept {
        if (drop()) destroy(const_cast<cancel_token*>(this));
    }

  private:
    struct note : ref_counted<note> {
        explicit note(std::string_view words) : text(words) {}
        const std::string text;
    };
    struct callback_list {
        callback* first = nullptr;
        callback* last = nullptr;
        void append(callback_list& other) noexcept;
        void fire(cancel_reason reason);
        void abandon() noexcept;
    };

    cancel_token(deadline until, cancel_token* parent) noexcept;
    ~cancel_token() = default;

    // acq_rel: the last owner must see every write the others made before letting go.
    [[nodiscard]] bool drop() const noexcept { return count_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
    [[nodiscard]] bool try_retain() const noexcept;
    [[nodiscard]] std::unique_lock<std::mutex> lock() const;
    [[nodiscard]] static callback* next_of(const callback& one) noexcept;
    static void destroy(cancel_token* last) noexcept;

    bool mark(cancel_reason reason, const ref<note>& why, callback_list& callbacks, cancel_token*& children);
    void wake_waiters() noexcept;

    bool claim() noexcept override { return try_retain(); }
    void expired() override;

    // A token's lock is one of a fixed table (see cancel_token.cpp); no thread ever holds two.
    mutable std::atomic<std::uint32_t> count_{1};
    std::atomic<std::uint32_t> state_{0};   // cancel_reason; written once, under this token's lock
    std::atomic<std::uint32_t> waiters_{0}; // threads in wait()
    std::atomic<std::uint32_t> watched_{0}; // the timer's incarnation that has our deadline, or 0
    const deadline when_;
    cancel_token* const parent_; // owned
    // Links in the parent's list, guarded by the parent's lock. Once the canceller has taken the child from
    // there next_ is the canceller's.
    cancel_token* previous_ = nullptr;
    cancel_token* next_ = nullptr;
    bool listed_ = false;
    cancel_token* children_ = nullptr; // guarded by this token's lock, as are the callbacks and the note
    callback_list callbacks_;
    ref<note> why_;
};

// Told once that a token is cancelled. Lives in whatever wants to know; no allocation.
class cancel_token::callback {
  public:
    callback(const callback&) = delete;
    callback& operator=(const callback&) = delete;

    // On the cancelling thread, which may be any, under no lock. The token does nothing with the callback
    // after this, so it may delete itself. Must not throw. (Not noexcept: see timer_entry::expired.)
    virtual void fired(cancel_reason reason) = 0;

    // Instead of `fired`: the token died, nobody can cancel it any more. On the thread that dropped the last
    // reference, under no lock; the token does nothing with the callback after this.
    virtual void abandoned() noexcept {}

  protected:
    callback() noexcept = default;
    ~callback() = default;

  private:
    friend class cancel_token;
    // Guarded by the token's lock; once taken they are the firing thread's.
    callback* previous_ = nullptr;
    callback* next_ = nullptr;
    bool listed_ = false;
};

inline cancel_token::callback* cancel_token::next_of(const callback& one) noexcept {
    return one.next_;
}

} // namespace loomy
