#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace loomy {

// What an item costs, in picoseconds; 0 while nobody knows. A guess that launches of the same kernel share,
// so the last writer wins.
class cost_estimate {
  public:
    [[nodiscard]] std::uint64_t per_item_ps() const noexcept {
        return per_item_ps_.load(std::memory_order_relaxed);
    }
    // `items` took so long. A quarter of the new and three of the old: one slow run means little.
    void note(std::int64_t ns, std::uint64_t items) noexcept {
        if (items == 0) return;
        const std::uint64_t now = ps_per_unit(ns, items);
        const std::uint64_t before = per_item_ps();
        per_item_ps_.store(before == 0 ? now : std::max<std::uint64_t>(1, before - before / 4 + now / 4),
                           std::memory_order_relaxed);
    }
    // Never 0: that would mean nobody knows.
    [[nodiscard]] static std::uint64_t ps_per_unit(std::int64_t ns, std::uint64_t units) noexcept {
        const auto most = std::uint64_t{1} << 53; // two and a half hours a unit
        const auto took = static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
        return std::clamp<std::uint64_t>(took < most / 1000 ? took * 1000 / units : took / units * 1000, 1,
                                         most);
    }

  private:
    std::atomic<std::uint64_t> per_item_ps_{0};
};

// How much one thread claims at a time. Small at first, for an item may take a second; then what takes
// `target_ns`, so that a claim costs next to nothing and a stop is noticed soon; towards the end less, so
// that all end together, but nothing that takes less than a few microseconds. A few cheap items do not make
// those to come cheap: for the size of a claim they count as what earlier launches had them cost, or more.
// But a launch may be cheaper than earlier ones altogether: as long as claims take next to no time, each is
// twice the one before, and never a large part of what is left.
class pace {
  public:
    static constexpr std::int64_t target_ns = 50'000;
    static constexpr std::int64_t least_ns = 3'000;
    static constexpr std::int64_t quick_ns = least_ns / 4;
    static constexpr std::uint64_t most_growth = 16;
    static constexpr std::uint64_t most_units = std::uint64_t{1} << 32;

    // `known_ps` per unit, 0 if unknown.
    pace(std::uint64_t least, std::uint32_t threads, std::uint64_t known_ps) noexcept
        : least_(least),
          threads_(threads),
          known_ps_(known_ps),
          per_unit_ps_(known_ps),
          next_(known_ps == 0 ? least : most_units) {}

    [[nodiscard]] std::uint64_t next(std::uint64_t unclaimed) const noexcept {
        std::uint64_t want = next_;
        if (per_unit_ps_ != 0) {
            want = std::min(want, units_in(target_ns));
            if (threads_ > 1) want = std::min(want, std::max(unclaimed / (4 * threads_), units_in(least_ns)));
        }
        return std::max({want, std::min(after_quick_, unclaimed / (4 * threads_)), least_});
    }
    void took(std::int64_t ns, std::uint64_t units) noexcept {
        per_unit_ps_ = cost_estimate::ps_per_unit(ns, units);
        after_quick_ = ns < quick_ns ? 2 * units : 0;
        next_ = std::min(units * most_growth, most_units);
    }
    [[nodiscard]] std::uint64_t per_unit_ps() const noexcept { return per_unit_ps_; }

  private:
    [[nodiscard]] std::uint64_t units_in(std::int64_t ns) const noexcept {
        return static_cast<std::uint64_t>(ns) * 1000 / std::max(per_unit_ps_, known_ps_) + 1;
    }

    const std::uint64_t least_, threads_, known_ps_;
    std::uint64_t per_unit_ps_;
    std::uint64_t next_;
    std::uint64_t after_quick_ = 0;
};

} // namespace loomy
