#pragma once

#include <atomic>
#include <cstdint>

#include "loomy/sync/completion.hpp"

namespace loomy {

class pool;
struct slot;
struct frame;

// What became of a job. Everything from `done` on is final: the caller has its answer.
enum class phase : std::uint32_t {
    pending,   // queued, or about to be
    running,   // claimed: its function is being called
    settling,  // the function returned and the result stands, but is not published yet (hooks are running)
    done,      // it has a result or an error of its own
    cancelled, // by its caller or its context
    timed_out, // its deadline passed
    refused,   // the pool closed before it started
};

[[nodiscard]] constexpr bool is_final(phase p) noexcept {
    return p >= phase::done;
}

// One payload to be processed once. The core calls outwards through this; Python jobs derive from it.
//
// All that concurrent parties must agree on is one 32-bit word:
//   bits 0-2   phase
//   waiting    listeners_ has parked threads
//   calling    listeners_ has callbacks
//   orphan     the owner has let go: whoever drops the last hold disposes of the job
//   stopping   a running job was asked to stop
//   shared     many workers take part (a shared_job): popping it claims nothing
//   native     needs nothing of what the surroundings of a worker have for other jobs
//   bits 16-   holds: how many times the scheduler still points at it (the queue, a running worker, a watch)
// Claiming is one CAS pending -> running, cancelling one CAS pending -> cancelled, so a job that was
// abandoned in the queue never runs, and exactly one party decides. The memory is the owner's. The scheduler
// takes no references, only holds, because dropping a reference may need what the scheduler's threads do not
// have at that moment.
class job {
  public:
    static constexpr std::uint32_t phase_mask = 7;
    static constexpr std::uint32_t waiting = 1u << 3;
    static constexpr std::uint32_t calling = 1u << 4;
    static constexpr std::uint32_t orphan = 1u << 5;
    static constexpr std::uint32_t stopping = 1u << 6;
    static constexpr std::uint32_t shared = 1u << 7;
    static constexpr std::uint32_t native = 1u << 8;
    static constexpr std::uint32_t one_hold = 1u << 16;

    job(const job&) = delete;
    job& operator=(const job&) = delete;

    [[nodiscard]] static constexpr phase phase_of(std::uint32_t word) noexcept {
        return static_cast<phase>(word & phase_mask);
    }
    [[nodiscard]] static constexpr bool has_holds(std::uint32_t word) noexcept { return word >= one_hold; }

    // (1) acquire: pairs with publish (2) and abandon (3); what the job left behind is visible.
    [[nodiscard]] std::uint32_t word() const noexcept { return word_.load(std::memory_order_acquire); }
    [[nodiscard]] phase state() const noexcept { return phase_of(word()); }
    [[nodiscard]] bool finished() const noexcept { return is_final(state()); }

    // The scheduler's side.

    enum class popped { claimed, husk, disposable };
    // For the one who took the job from the queue: the queue's hold becomes the runner's, or, when somebody
    // was faster, is dropped. `disposable`: that was the last hold and the owner is gone. Lock-free.
    [[nodiscard]] popped claim_popped() noexcept;
    // For one who found the job without the queue; the queue will later find a husk. Lock-free.
    [[nodiscard]] bool claim_in_queue() noexcept;

    // Between the end of the function and the publication: nobody can abandon it any more.
    // False: it has been abandoned. Lock-free.
    [[nodiscard]] bool settle() noexcept;

    struct published {
        bool stands;     // the result is the job's answer; false: it had been abandoned
        bool disposable; // that was the last hold and the owner is gone
    };
    // Ends the run: phase `done` unless abandoned meanwhile, drops the runner's hold, tells listeners.
    // The job must not be touched afterwards unless it is disposable.
    [[nodiscard]] published publish();

    enum class abandoned { no, in_queue, while_running };
    // One CAS: the answer is `as` (cancelled, timed_out or refused) unless there is one already. The caller
    // follows up with pool::after_abandon, which settles the books and tells listeners. Lock-free.
    [[nodiscard]] abandoned abandon(phase as, bool only_queued = false) noexcept;

    // Asks a running job to stop without abandoning it. True when it was running.
    bool request_stop() noexcept;

    void add_hold() noexcept { word_.fetch_add(one_hold, std::memory_order_relaxed); }
    // True: that was the last hold and the owner is gone: dispose of it.
    [[nodiscard]] bool drop_hold() noexcept;
    // The owner lets go. True: nobody holds it, the caller disposes of it now.
    [[nodiscard]] bool drop_owner() noexcept;

    // Listening.

    // False: it has finished already, the node was not added.
    [[nodiscard]] bool listen(listener& node) noexcept;
    // True: the node was removed and will not be used. False: it is not there any more. A waiter whose node
    // was added must call this before its node or the job goes away, also when it has seen the job finished.
    bool stop_listening(listener& node) noexcept;
    // The newest listed node that `is_wanted(node)`, taken off the list and the caller's again; null if there
    // is none. `is_wanted` is called under listener_lock(this), and so may only look.
    template <class IsWanted>
    [[nodiscard]] listener* take_listener(IsWanted&& is_wanted) {
        const listener_lock guard(this);
        for (listener** link = &listeners_; *link != nullptr; link = &(*link)->next) {
            listener* const node = *link;
            if (!is_wanted(*node)) continue;
            *link = node->next;
            return node;
        }
        return nullptr;
    }
    // After a final phase was set: wakes and calls everybody registered.
    void tell_listeners();

    // What a kind of job must bring.

    // Runs the function, on the thread that claimed the job, between claim and publish. Returns true when it
    // succeeded. A shared job takes part until nothing is left.
    virtual bool run(frame& where) = 0;
    // Instead of it, if the job was abandoned after the claim: the function must not be called. What run
    // would let go of is let go of here.
    virtual void skip(frame&) {}
    // The job's answer is `as` though its function may still run: keep the error, fire hooks, stop contexts.
    virtual void on_abandoned(phase as, bool was_running) = 0;
    // Last call: nobody points here any more and the owner is gone.
    virtual void dispose() = 0;

    union {
        std::int64_t enqueued_ns = 0; // sampled: monotonic nanoseconds at submission, or 0
        job* next_disposable;         // once nobody points here any more: link of a list of such jobs
    };

  protected:
    explicit job(std::uint32_t flags = 0) noexcept : word_(flags) {}
    ~job() = default;

    void reset_word(std::uint32_t word) noexcept { word_.store(word, std::memory_order_relaxed); }

  private:
    published publish_to_listeners();

    std::atomic<std::uint32_t> word_;

  protected:
    // Room for what a kind of job has to remember, where the layout would have a hole.
    std::atomic<bool> failed_{false}; // written before the job is final, and read after it is
    std::atomic<bool> error_was_seen_{false};
    bool was_finalized_ = false;

  private:
    listener* listeners_ = nullptr; // guarded by listener_lock(this)
};

} // namespace loomy
