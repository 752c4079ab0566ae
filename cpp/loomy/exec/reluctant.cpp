#include "loomy/exec/pool.hpp"

namespace loomy {

// Guests count as well, though they take nothing from the queue: they end by themselves, and whoever waits
// asks again.
bool pool::depends_on(const slot& mine) const noexcept {
    if (jobs_in_.is_empty() || free_.any() ||
        searching_.load(wake_step::reads_licence, std::memory_order_seq_cst) != 0)
        return false;
    const std::lock_guard guard(lifecycle_lock_);
    for (std::uint32_t id = 0; id < id_limit_; ++id) {
        const slot& one = at(id);
        if (&one != &mine && one.in_use && one.reluctant.load(std::memory_order_relaxed) == 0) return false;
    }
    return true;
}

} // namespace loomy
