#include <algorithm>

#include "loomy/base/clock.hpp"
#include "loomy/exec/launch.hpp"
#include "loomy/kernel/guarded_call.hpp"

namespace loomy {
namespace {

// What is left to do has to take so long for waking a worker to pay.
constexpr double worth_sharing_ps = 10e6;

} // namespace

std::uint64_t launch::ps_per_unit_before() const noexcept {
    if (cost_ == nullptr || size() == 0) return 0;
    const std::uint64_t items_per_unit = static_cast<std::uint64_t>(split_.total()) / size();
    return cost_->per_item_ps() * std::max<std::uint64_t>(items_per_unit, 1);
}

// What a unit of claiming costs, as measured by who ran one last or as earlier launches had it; 0: unknown.
// Any thread that has a hold, after the end too.
std::uint64_t launch::known_ps_per_unit() const noexcept {
    const std::uint64_t measured = per_unit_ps_.load(std::memory_order_relaxed);
    return measured != 0 ? measured : before_ps_;
}

bool launch::has_room() const noexcept {
    return unclaimed() != 0 && joined_.load(std::memory_order_relaxed) < record_.num_workers;
}

bool launch::wants_more(std::uint32_t joining) const noexcept {
    if (joined_.load(std::memory_order_relaxed) + joining >= record_.num_workers) return false;
    const std::uint64_t left = unclaimed();
    if (left <= split_.least_claim()) return false;
    const std::uint64_t per_unit_ps = known_ps_per_unit();
    return per_unit_ps == 0 ||
           static_cast<double>(left) * static_cast<double>(per_unit_ps) > worth_sharing_ps;
}

std::uint64_t launch::take_part(frame& where) {
    // Never given to a second one: who leaves has left nothing to do.
    const std::uint32_t worker = seated_ == &where ? 0 : joined_.fetch_add(1, std::memory_order_relaxed);
    if (worker >= record_.num_workers) return 0;
    slot& at = where.where;
    chunk_call call{};
    call.struct_size = sizeof(loomy_call);
    call.worker = worker;
    call.launch = &record_;
    call.host = &call;
    call.where = &where;
    call.errors = error_watch::of_this_thread();
    // Not less than in earlier launches: who came first may have measured the cheap ones.
    pace speed(split_.least_claim(), record_.num_workers, std::max(before_ps_, known_ps_per_unit()));
    bool invited = false;
    std::uint64_t done = 0;
    std::uint64_t ran = 0;
    const std::int64_t joined_ns = now_ns();
    std::int64_t from = joined_ns;
    while (!stopped()) {
        std::uint64_t want = speed.next(unclaimed());
        if (segments_) want -= want % split_.least_claim(); // which is the least that `next` says
        const range next = claim(want);
        if (next.empty()) break;
        if (next.begin == 0) {
            started_.store(true, std::memory_order_relaxed);
            started_ns_ = from;
            at.stats.started.add(jobs());
        }
        ran += run_claimed(call, next);
        done += next.size();
        const std::int64_t now = now_ns();
        speed.took(now - from, next.size());
        per_unit_ps_.store(speed.per_unit_ps(), std::memory_order_relaxed);
        from = now;
        if (!invited && wants_more(0)) {
            invited = true;
            home_->invite(*this, 0);
        }
    }
    if (stopped()) done += claim_rest().size();
    at.stats.busy_ns.add(static_cast<std::uint64_t>(is_nested() ? 0 : from - joined_ns));
    if (cost_ != nullptr && ran != 0) cost_->note(from - joined_ns, items_in(ran)); // so it has not ended
    units_run_.fetch_add(ran, std::memory_order_relaxed);                           // published by `finish`
    const scratch_arena::mark left = at.scratch.here();
    if (left.block == 0 && left.used == 0) at.scratch.trim();
    return done;
}

std::uint64_t launch::items_in(std::uint64_t units) const noexcept {
    return split_.is_fixed() ? static_cast<std::uint64_t>(split_.total()) / size() * units : units;
}

// Worth it where it is known that there is enough for more than one thread: then the kernel has run before.
void launch::cut_for_participants() noexcept {
    if (record_.num_workers < 2 || split_.is_fixed()) return;
    if (static_cast<double>(size()) * static_cast<double>(before_ps_) <= worth_sharing_ps) return;
    segments_.cut(split_.total(), record_.num_workers, static_cast<std::int64_t>(split_.least_claim()));
}

std::uint64_t launch::run_items(chunk_call& call, index_range items) {
    call.begin = items.begin;
    call.end = items.end;
    call.chunk = -1;
    run_chunk(call);
    return static_cast<std::uint64_t>(items.end - items.begin);
}

// As many items as were claimed, from wherever this participant takes them.
std::uint64_t launch::run_from_segments(chunk_call& call, range units) {
    const index_range rest = segments_.rest();
    const std::int64_t of_rest = units.end == size() ? rest.end - rest.begin : 0;
    std::uint64_t ran = 0;
    segments_.take(call.where->where.id, static_cast<std::int64_t>(units.size()) - of_rest,
                   [&](index_range items) {
                       ran += run_items(call, items);
                       return !stopped();
                   });
    if (of_rest != 0 && !stopped()) ran += run_items(call, rest);
    return ran;
}

// Returns how many of the units were run.
std::uint64_t launch::run_claimed(chunk_call& call, range units) {
    if (segments_) return run_from_segments(call, units);
    if (!split_.is_fixed()) {
        return run_items(call,
                         {static_cast<std::int64_t>(units.begin), static_cast<std::int64_t>(units.end)});
    }
    std::uint64_t index = units.begin;
    do {
        const index_range items = split_.chunk(static_cast<std::int64_t>(index));
        call.begin = items.begin;
        call.end = items.end;
        call.chunk = static_cast<std::int64_t>(index);
        run_chunk(call);
        ++index;
    } while (index != units.end && !stopped());
    return index - units.begin;
}

inline void launch::run_chunk(chunk_call& call) {
    scratch_arena& scratch = call.where->where.scratch;
    const scratch_arena::mark before = scratch.here();
    call.of_loop.reset(); // of the chunk before
    std::string escaped;
    const int status = call_guarded([&] { return run_(&call); }, escaped);
    scratch.release_to(before);
    if (status != LOOMY_OK || call.errors.raised()) [[unlikely]]
        chunk_failed(call, status, escaped);
}

} // namespace loomy
