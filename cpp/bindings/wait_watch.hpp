#pragma once

#include <Python.h>

#include "gil.hpp"
#include "loomy/exec/pool.hpp"
#include "loomy/sync/cancel_token.hpp"
#include "loomy/sync/parker.hpp"
#include "pool_object.hpp"

namespace loomy::py {

// Ends a wait of this thread when its context is cancelled: `announce` makes the waiter look again. On the
// stack of the one who waits, who keeps it until it is closed.
class wait_watch final : public cancel_token::callback {
  public:
    wait_watch(const call_limits& limits, pool& core, void (pool::*announce)() noexcept)
        : limits_(limits), core_(core), announce_(announce) {
        // The wait watches the deadline itself.
        added_ = limits.given() && limits.token->add(*this, cancel_token::watch::no);
    }
    void close() {
        if (!added_ || limits_.token->remove(*this)) return;
        const gil::detached scope; // being fired just now
        while (ended_.park() != wait_status::woken) {
        }
    }
    [[nodiscard]] const std::atomic<std::uint32_t>* flag() const noexcept {
        return limits_.given() ? &limits_.token->flag() : nullptr;
    }
    void fired(cancel_reason) override {
        (core_.*announce_)();
        ended_.unpark();
    }

  private:
    const call_limits& limits_;
    pool& core_;
    void (pool::*announce_)() noexcept;
    bool added_ = false;
    parker ended_;
};

} // namespace loomy::py
