#pragma once

#include <Python.h>

#include <memory>
#include <mutex>

#include "batch_items.hpp"
#include "batch_stream.hpp"
#include "deferred.hpp"
#include "gil.hpp"
#include "loomy/base/ref.hpp"
#include "loomy/exec/batch.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "python_pool.hpp"

namespace loomy::py {

class running_call;

// Many payloads of a Python pool. References count who may touch it: the submitter, an AsyncResult, and one
// for all the scheduler's holds together. What it holds is Python's, so the last one lets go attached, or
// defers.
class python_batch final : public batch {
  public:
    // Steals `snapshot`.
    python_batch(ref<python_pool> home, batch_items items, PyObject* snapshot, ref<cancel_token> token,
                 PyObject* context);

    // Before it is submitted: the items are arguments of that function, which is not the pool's; each is a
    // tuple of them if `spread`. Their outcomes are taken one by one as they come. Throws std::bad_alloc.
    void stream(PyObject* function, bool spread);
    [[nodiscard]] batch_stream& outcomes() noexcept { return *stream_; }
    // What became of an item of a stream: its result, or null with its error set. Each once, attached, after
    // it has an outcome or the batch has ended.
    [[nodiscard]] PyObject* take_outcome(std::uint64_t index);

    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept;

    bool joins(frame& where) override;
    std::uint64_t take_part(frame& where) override;
    std::uint64_t payloads_abandoned(range which, phase as) override;
    void on_abandoned(phase as, bool was_running) override;
    void ended(frame* where) override;
    void dispose() override;

    // What it holds, for the collector, once it has ended: before, that is in use.
    int traverse(visitproc visit, void* arg) const;

    // A BatchResult of what there is: called once, attached, when the batch has ended or was abandoned. Items
    // without an outcome get the error of `as`. New reference, null with an error set.
    [[nodiscard]] PyObject* collect(phase as);

    // The KeyboardInterrupt that hit the caller while it took part: new reference, or null.
    [[nodiscard]] PyObject* take_interrupt() noexcept { return std::exchange(interrupt_, nullptr); }

    // The token above those of its items' contexts: made when the first of them is asked for, if the batch
    // has none of its own. Throws std::bad_alloc.
    [[nodiscard]] cancel_token* token_of_items();

    const ref<python_pool> home;
    const ref<cancel_token> token; // of its deadline and the submitter's context; null for none
    bool deadline_is_context = false;

  private:
    ~python_batch();

    struct participant;
    [[nodiscard]] std::uint64_t claim_size(const slot_stats& stats) const noexcept;
    void look_around(participant& on);
    bool run_item(participant& on, std::uint64_t index);
    bool run_plain_item(participant& on, std::uint64_t index);
    bool run_any_item(participant& on, std::uint64_t index, bool timed, bool look);
    bool end_item(participant& on, std::uint64_t index, PyObject* payload, PyObject* result,
                  std::int64_t took);
    [[nodiscard]] bool skip_item(slot_stats& stats) noexcept;
    // False: the batch has been collected without it.
    [[nodiscard]] bool put_failure(std::uint64_t index, PyObject* error);
    [[nodiscard]] PyObject* collect_abandoned(phase as, PyObject*& failures);
    [[nodiscard]] PyObject* item_error(phase as) const;

    [[nodiscard]] PyObject* new_reference_to_function() const;
    [[nodiscard]] PyObject* call_function(PyObject* function, PyObject* payload) const;
    [[nodiscard]] PyObject* call_item(participant& on, PyObject* payload);
    // The last of an item: whoever takes its outcome finds it counted, told to the hooks, and its payload
    // gone.
    void mark(std::uint64_t index, batch_stream::outcome what) noexcept {
        if (stream_) stream_->mark(index, what);
    }
    // An executor promises that every worker takes what comes next, whatever it costs: items may wait for
    // each other.
    [[nodiscard]] bool may_stay_alone() const noexcept { return !gil::is_free_threaded && !stream_; }

    mutable std::atomic<std::uint32_t> count_{1};
    std::unique_ptr<batch_stream> stream_;
    PyObject* function_ = nullptr; // of a stream that has not ended; else null
    bool spread_ = false;
    batch_items items_;
    PyObject* failures_ = nullptr; // dict: index to exception; made at the first one
    PyObject* snapshot_;
    PyObject* interrupt_ = nullptr; // the submitter's thread only
    PyObject* context_;             // the submitter's Context or null
    ref<cancel_token> lent_;        // see token_of_items; guarded by listener_lock(this)
    // On a free-threaded build guards failures_, collected_ and function_.
    mutable std::mutex outcomes_lock_;
    bool collected_ = false;
    std::atomic<std::uint32_t> participants_{0};
    std::atomic<std::int64_t> alone_until_ns_{0}; // until then no worker joins; 0: they do
};

} // namespace loomy::py
