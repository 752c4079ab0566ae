#include "loomy/exec/launch.hpp"

#include <algorithm>
#include <utility>

#include "loomy/base/clock.hpp"
#include "loomy/kernel/guarded_call.hpp"
#include "loomy/kernel/interpreter.hpp"

namespace loomy {
namespace {

constexpr std::uint64_t known_flags = LOOMY_K_USES_PYTHON | LOOMY_K_SERIAL | LOOMY_K_NOEXCEPT | LOOMY_K_FIXED;

std::uint32_t most_participants(const pool& home, bool serial) noexcept {
    // A pool that drains has no size any more, but workers.
    return serial ? 1 : std::max({home.size(), home.workers(), 1u});
}

partition split(const launch_request& what) noexcept {
    const std::int64_t total = std::clamp<std::int64_t>(what.total, 0, partition::most_items);
    const std::int64_t grain = what.grain > 0 ? what.grain : what.kernel->grain;
    if (what.chunks <= 0 && (what.kernel->flags & LOOMY_K_FIXED) != 0) return partition::fixed(total, grain);
    return {total, std::max<std::int64_t>(what.chunks, 0), grain};
}

constexpr phase phase_for(cancel_reason reason) noexcept {
    return reason == cancel_reason::deadline_exceeded ? phase::timed_out : phase::cancelled;
}

} // namespace

const char* kernel_fault(const loomy_kernel* kernel) noexcept {
    if (kernel == nullptr) return "it is a null pointer";
    if (!LOOMY_HAS(loomy_kernel, kernel, flags))
        return "its struct_size is too small; begin it with LOOMY_KERNEL_HEADER";
    if ((kernel->abi >> 16) != LOOMY_ABI_MAJOR)
        return "it was built for another major version of loomy/kernel.h; build it again";
    if (kernel->run == nullptr) return "it has no run function";
    if ((kernel->flags & ~known_flags) != 0) return "it has a flag that this version of loomy does not know";
    return nullptr;
}

launch::launch(pool& home, const launch_request& what, ends how)
    : shared_job(split(what).units(), native),
      home_(ref<pool>::share(&home)),
      run_(what.kernel->run),
      kernel_(what.kernel),
      split_(split(what)),
      ends_(how),
      cost_(what.cost),
      before_ps_(ps_per_unit_before()) {
    record_.struct_size = sizeof(loomy_launch);
    record_.abi = LOOMY_ABI;
    record_.api = &kernel_api();
    record_.stop = reinterpret_cast<const std::uint32_t*>(&stop_);
    record_.total = split_.total();
    record_.n_chunks = split_.chunks();
    record_.num_workers = most_participants(home, (what.kernel->flags & LOOMY_K_SERIAL) != 0);
    record_.nargs = what.nargs;
    record_.args = what.args;
    record_.user_data = what.user_data != nullptr ? what.user_data : what.kernel->user_data;
    record_.host = this;
}

launch::launch(pool& home, std::int64_t total, std::int64_t grain, const loomy_launch& outer,
               loomy_run_fn part)
    : shared_job(static_cast<std::uint64_t>(total), native),
      home_(ref<pool>::share(&home)),
      run_(part),
      kernel_(nullptr),
      split_(total, 0, grain),
      ends_(ends::with_its_chunks),
      cost_(nullptr),
      before_ps_(0),
      outer_(&of(&outer)) {
    record_ = outer_->record_; // the kernel's copy may be one of an older, shorter struct
    record_.nargs = outer.nargs;
    record_.args = outer.args;
    record_.user_data = outer.user_data;
    record_.state = outer.state;
    record_.stop = reinterpret_cast<const std::uint32_t*>(&stop_);
    record_.total = total;
    record_.n_chunks = 0;
    record_.num_workers = most_participants(home, false);
    record_.host = this;
}

// Before the first chunk.

bool launch::prepare() {
    prepared_ = true;
    if (kernel_ == nullptr || kernel_->prepare == nullptr) return size() != 0;
    const chunk_call nowhere = as_one_chunk();
    std::string escaped;
    const int status = call_guarded([&] { return kernel_->prepare(&record_, &record_.state); }, escaped);
    if (status == LOOMY_OK && !nowhere.errors.raised()) return size() != 0;
    prepared_ = false; // nothing to finish
    chunk_failed(nowhere, status, escaped);
    return false;
}

void launch::end_without_chunks() {
    home_->count_submitted(jobs());
    add_hold();
    ended(nullptr);
    (void)publish(); // the owner is here
}

// After the last.

void launch::call_finish() {
    if (!std::exchange(prepared_, false) || kernel_ == nullptr || kernel_->finish == nullptr) return;
    const bool whole = units_run_.load(std::memory_order_relaxed) == size() &&
                       !chunk_stopped_.load(std::memory_order_relaxed);
    const int before = failure_.happened() ? failure_.code() : whole ? LOOMY_OK : LOOMY_CANCELLED;
    const chunk_call nowhere = as_one_chunk();
    std::string escaped;
    const int status =
        call_guarded([&] { return kernel_->finish(&record_, record_.state, before); }, escaped);
    if (before != LOOMY_OK) {
        nowhere.errors.drop();
    } else if (status != LOOMY_OK || nowhere.errors.raised()) {
        chunk_failed(nowhere, status, escaped);
    }
}

void launch::forget_attempt() {
    call_finish();
    failure_.forget();
    stop_.store(0, std::memory_order_relaxed);
    chunk_stopped_.store(false, std::memory_order_relaxed);
    record_.state = nullptr;
}

void launch::ended(frame* where) {
    const bool is_ours_to_count = settle(); // else who abandoned or refused it has counted it
    stop_watching();
    call_finish();
    const bool whole = units_run_.load(std::memory_order_relaxed) == size() &&
                       !chunk_stopped_.load(std::memory_order_relaxed);
    if (!whole && !failure_.happened()) {
        const std::uint32_t why = stop_.load(std::memory_order_relaxed);
        if (outcome_ == phase::done) outcome_ = why == stop_timed_out ? phase::timed_out : phase::cancelled;
    }
    released();
    const bool started = started_.load(std::memory_order_relaxed);
    if (where != nullptr && started) {
        where->where.stats.run_time[bucket_of(now_ns() - started_ns_)].add(jobs());
    }
    if (is_nested()) return;
    auto what = pool::count_as::nothing;
    if (is_ours_to_count) {
        what = failure_.happened()            ? pool::count_as::failed
               : outcome_ == phase::done      ? pool::count_as::completed
               : outcome_ == phase::timed_out ? pool::count_as::timed_out
                                              : pool::count_as::cancelled;
    }
    home_->count_end(where, started, what);
}

launch_outcome launch::outcome() const noexcept {
    const phase now = state();
    if (now != phase::done) return {now};
    if (failure_.happened())
        return {phase::done, failure_.code(), failure_.message(), failure_.where(), failure_.is_of_loop()};
    return {outcome_};
}

// Ends that come from outside.

std::uint64_t launch::items_refused(range, phase as) {
    if (!settle()) return 0; // abandoned at the same time, and counted so
    outcome_ = as;
    return jobs();
}

std::uint64_t launch::items_abandoned(range, phase) {
    return jobs();
}

void launch::on_abandoned(phase as, bool) {
    raise_stop(as);
}

void launch::raise_stop(phase as) {
    raise(as == phase::timed_out ? stop_timed_out : as == phase::refused ? stop_refused : stop_cancelled);
}

void launch::raise(std::uint32_t why) noexcept {
    std::uint32_t running = 0;
    if (!stop_.compare_exchange_strong(running, why, std::memory_order_relaxed)) return;
    // A loop that is listed later looks at the word, after it was under this lock.
    const std::lock_guard guard(nested_lock_);
    for (launch* one = first_nested_; one != nullptr; one = one->next_nested_) one->raise(stop_cancelled);
}

void launch::list_in_outer() noexcept {
    {
        const std::lock_guard guard(outer_->nested_lock_);
        next_nested_ = outer_->first_nested_;
        if (next_nested_ != nullptr) next_nested_->previous_nested_ = this;
        outer_->first_nested_ = this;
    }
    if (outer_->stopped()) raise(stop_cancelled);
}

void launch::unlist_from_outer() noexcept {
    const std::lock_guard guard(outer_->nested_lock_);
    (previous_nested_ != nullptr ? previous_nested_->next_nested_ : outer_->first_nested_) = next_nested_;
    if (next_nested_ != nullptr) next_nested_->previous_nested_ = previous_nested_;
}

void launch::watch(const ref<cancel_token>& token) {
    if (!token) return;
    token_ = token;
    add_hold(); // the callback's
    bool added = false;
    try {
        added = token->add(*this);
    } catch (...) {
        (void)drop_hold(); // the owner is here
        (void)home_->stop(*this, phase::cancelled);
        throw;
    }
    if (!added) {
        (void)drop_hold();
        (void)home_->abandon(*this, phase_for(token->poll()));
        return;
    }
    watching expected = watching::not_yet;
    if (!watching_.compare_exchange_strong(expected, watching::on, std::memory_order_acq_rel)) {
        // It has ended already, and could not stop what had not begun.
        if (token->remove(*this)) (void)drop_hold();
    }
}

void launch::stop_watching() noexcept {
    if (watching_.exchange(watching::off, std::memory_order_acq_rel) != watching::on) return;
    // Taken for firing: then `fired` drops the hold itself.
    if (token_->remove(*this)) (void)drop_hold(); // never the last: our caller has one
}

void launch::fired(cancel_reason reason) {
    (void)home_->abandon(*this, phase_for(reason));
    if (drop_hold()) dispose();
}

// Errors.

int launch::report(int code, std::string_view message, index_range where) noexcept {
    if (code == LOOMY_CANCELLED) return code;
    if (code == LOOMY_OK) code = LOOMY_ERROR;
    if (failure_.claim()) failure_.keep(code, message, where);
    raise(stop_failed);
    return code;
}

// What prepare and finish are called as.
chunk_call launch::as_one_chunk() const noexcept {
    chunk_call whole{};
    whole.end = record_.total;
    whole.errors = error_watch::of_this_thread();
    return whole;
}

void launch::chunk_failed(const chunk_call& call, int status, std::string_view escaped) {
    void* foreign = call.errors.take();
    if (foreign != nullptr && (status == LOOMY_OK || status == LOOMY_CANCELLED)) status = LOOMY_EPYTHON;
    if (status == LOOMY_OK) return;                      // it left one, but the interpreter is going away
    if (foreign != nullptr && status != LOOMY_EPYTHON) { // the kernel has said what is wrong
        interpreter.drop_error(std::exchange(foreign, nullptr));
    }
    if (status == LOOMY_CANCELLED) {
        chunk_stopped_.store(true, std::memory_order_relaxed);
        raise(stop_cancelled);
        return;
    }
    std::string_view message = escaped;
    index_range where{call.begin, call.end};
    bool is_of_loop = false;
    const std::unique_ptr<first_failure> of_loop = std::move(call.of_loop);
    if (foreign == nullptr && of_loop != nullptr && of_loop->code() == status) {
        foreign = of_loop->take_foreign();
        message = of_loop->message();
        where = of_loop->where();
        is_of_loop = of_loop->is_of_loop();
    }
    if (failure_.claim()) {
        failure_.keep(status, message, where, foreign, is_of_loop);
    } else if (foreign != nullptr) {
        interpreter.drop_error(foreign);
    }
    raise(stop_failed);
}

} // namespace loomy
