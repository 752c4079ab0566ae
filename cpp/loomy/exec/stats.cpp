#include "loomy/exec/stats.hpp"

#include <algorithm>

#include "loomy/exec/pool.hpp"

namespace loomy {

std::uint64_t pool::queue_length() const noexcept {
    // Of a bounded queue a job that an idle worker is about to take is not queued: it took no place.
    std::uint64_t queued = places_ ? std::min(places_->taken(), jobs_in_.count()) : jobs_in_.count();
    const std::uint64_t entries = shared_entries_.load(std::memory_order_relaxed);
    queued -= std::min(queued, entries);
    return queued + queued_in_shared();
}

std::uint64_t pool::queued_in_shared() const noexcept {
    std::uint64_t items = 0;
    const std::lock_guard guard(shared_lock_);
    for (const shared_job* one = first_shared_; one != nullptr; one = one->next_) items += one->queued_jobs();
    return items;
}

void pool::count_end(frame* where, bool was_started, count_as what) noexcept {
    const auto add = [&](owned_counter slot_stats::*on_slot, std::atomic<std::uint64_t>& elsewhere) {
        if (where != nullptr) {
            (where->where.stats.*on_slot).add();
        } else {
            elsewhere.fetch_add(1, std::memory_order_relaxed);
        }
    };
    switch (what) {
        case count_as::nothing:
            break;
        case count_as::completed:
            add(&slot_stats::completed, completed_off_slots_);
            break;
        case count_as::failed:
            add(&slot_stats::failed, failed_off_slots_);
            break;
        case count_as::cancelled:
            cancelled_.fetch_add(1, std::memory_order_relaxed);
            break;
        case count_as::timed_out:
            timed_out_.fetch_add(1, std::memory_order_relaxed);
            break;
    }
    if (was_started) add(&slot_stats::finished, finished_off_slots_);
}

std::uint64_t pool::executing() const noexcept {
    std::uint64_t started = 0;
    std::uint64_t finished = finished_off_slots_.load(std::memory_order_relaxed);
    const std::lock_guard guard(lifecycle_lock_);
    for (std::uint32_t id = 0; id < id_limit_; ++id) {
        // Finished first: a job may start and end between the two reads, but never end before it started.
        finished += at(id).stats.finished.get();
        started += at(id).stats.started.get();
    }
    return started > finished ? started - finished : 0;
}

namespace {

// Reads until two readings in a row agree, so that the numbers belong together; under steady load gives up
// and returns the last.
constexpr int most_readings = 16;

bool same_moment(const pool_stats& a, const pool_stats& b) noexcept {
    return a.submitted == b.submitted && a.queued == b.queued && a.running == b.running &&
           a.completed == b.completed && a.failed == b.failed && a.cancelled == b.cancelled &&
           a.timed_out == b.timed_out;
}

} // namespace

pool_stats pool::read_stats() const noexcept {
    pool_stats out;
    std::uint64_t started = 0;
    std::uint64_t finished = finished_off_slots_.load(std::memory_order_relaxed);
    std::uint64_t busy_ns = 0;
    out.completed = completed_off_slots_.load(std::memory_order_relaxed);
    out.failed = failed_off_slots_.load(std::memory_order_relaxed);
    out.cancelled = cancelled_.load(std::memory_order_relaxed);
    out.timed_out = timed_out_.load(std::memory_order_relaxed);
    out.refused = refused_.load(std::memory_order_relaxed);
    {
        const std::lock_guard guard(lifecycle_lock_);
        for (std::uint32_t id = 0; id < id_limit_; ++id) {
            const slot_stats& one = at(id).stats;
            finished += one.finished.get();
            started += one.started.get();
            out.completed += one.completed.get();
            out.failed += one.failed.get();
            out.inlined += one.inlined.get();
            out.parks += one.parks.get();
            busy_ns += one.busy_ns.get();
            for (std::size_t i = 0; i < out.run_time.size(); ++i) {
                out.queue_wait[i] += one.queue_wait[i].get();
                out.run_time[i] += one.run_time[i].get();
            }
        }
    }
    const std::uint64_t executing = started > finished ? started - finished : 0;
    // Before the entries of shared jobs, each of which is counted there first.
    const std::uint64_t counted = jobs_in_.count();
    const std::uint64_t entries = shared_entries_.load(std::memory_order_relaxed);
    out.queued = counted - std::min(counted, entries) + queued_in_shared();
    out.failed += out.refused; // they failed with "the pool was closed"
    out.rejected = rejected_.load(std::memory_order_relaxed);
    out.workers = present_.load(std::memory_order_relaxed);
    out.idle = out.workers > executing ? out.workers - executing : 0;
    out.peak_queued = peak_queued_.load(std::memory_order_relaxed);
    out.wakes = wakes_.load(std::memory_order_relaxed);
    out.busy_seconds = static_cast<double>(busy_ns) * 1e-9;
    out.submitted = jobs_in_.submitted();
    // What has left the queue and has no end. Counted this way, a worker that has just taken a job and is
    // about to call it cannot hide it; and a job whose end was forgotten would be running for ever.
    const std::uint64_t elsewhere = out.completed + out.failed + out.cancelled + out.timed_out + out.queued;
    out.running = out.submitted > elsewhere ? out.submitted - elsewhere : 0;
    return out;
}

pool_stats pool::stats() const noexcept {
    pool_stats last = read_stats();
    for (int i = 1; i < most_readings; ++i) {
        pool_stats next = read_stats();
        const bool agree = same_moment(last, next);
        last = next;
        if (agree) break;
    }
    return last;
}

} // namespace loomy
