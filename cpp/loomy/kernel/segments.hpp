#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "loomy/base/cacheline.hpp"
#include "loomy/kernel/partition.hpp"

namespace loomy {

// Items cut into one run for each participant, who takes from his own first and then from the others'. Who
// runs the same loop over the same arrays again, on the same slot, finds his part of them in his CPU's cache.
//
// How many items somebody may take is decided elsewhere, by one counter for all (shared_job::claim). As no
// more is granted than there is, whoever was granted some finds as many here: a run never grows, so one pass
// over all of them is enough.
//
// All but the last few items, which are fewer than the grain, are given in multiples of it as long as they
// are asked for so.
class segments {
  public:
    // Without memory there are none, and everybody takes what comes next.
    void cut(std::int64_t total, std::uint32_t parts, std::int64_t grain) noexcept {
        const std::int64_t grains = total / grain;
        if (grains < parts) return;
        runs_.reset(new (std::nothrow) run[parts]);
        if (runs_ == nullptr) return;
        count_ = parts;
        rest_ = {grains * grain, total};
        const partition even(grains, parts, 1);
        for (std::uint32_t i = 0; i < parts; ++i) {
            const index_range part = even.chunk(i);
            runs_[i].next.store(part.begin * grain, std::memory_order_relaxed);
            runs_[i].end = part.end * grain;
        }
    }
    [[nodiscard]] explicit operator bool() const noexcept { return runs_ != nullptr; }
    [[nodiscard]] index_range rest() const noexcept { return rest_; }

    // Calls `use(index_range)`, which says whether to go on, for so many items in all. Relaxed: who may take
    // them was published with the launch, and that they are done with by shared_job::finish.
    template <class Use>
    void take(std::uint32_t participant, std::int64_t want,
              Use&& use) noexcept(noexcept(use(index_range{}))) {
        const std::uint32_t own = participant % count_;
        for (std::uint32_t i = 0; i < count_ && want > 0; ++i) {
            run& from = runs_[own + i < count_ ? own + i : own + i - count_];
            if (from.next.load(std::memory_order_relaxed) >= from.end) continue;
            const std::int64_t begin = from.next.fetch_add(want, std::memory_order_relaxed);
            const index_range got{begin, std::min(begin + want, from.end)};
            if (got.begin >= got.end) continue;
            want -= got.end - got.begin;
            if (!use(got)) return;
        }
    }

  private:
    struct alignas(cache_line) run {
        std::atomic<std::int64_t> next;
        std::int64_t end;
    };
    std::unique_ptr<run[]> runs_;
    std::uint32_t count_ = 0;
    index_range rest_{0, 0};
};

} // namespace loomy
