#pragma once

#include "loomy/exec/shared_job.hpp"

namespace loomy {

// Many payloads submitted together, each a job of its own with an outcome of its own.
class batch : public shared_job {
  public:
    [[nodiscard]] std::uint64_t jobs() const noexcept final { return size(); }
    [[nodiscard]] std::uint64_t queued_jobs() const noexcept final { return unclaimed(); }

    std::uint64_t items_abandoned(range which, phase as) final { return payloads_abandoned(which, as); }
    // These payloads will never be processed. Returns how many of them have the answer `as`; the others have
    // been given the batch's own by who was faster, and are counted here.
    virtual std::uint64_t payloads_abandoned(range which, phase as) = 0;

  protected:
    explicit batch(std::uint64_t size) noexcept : shared_job(size, 0) {}
    ~batch() = default;
};

} // namespace loomy
