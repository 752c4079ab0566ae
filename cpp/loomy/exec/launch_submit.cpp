#include "loomy/exec/launch.hpp"

#include "loomy/base/clock.hpp"
#include "loomy/base/cpu.hpp"

namespace loomy {
namespace {

// A worker that ended the launch before this one says so first, and gives its slot back a moment later. Who
// comes in between and finds no slot would leave the launch to the workers, and be one thread more on the
// CPUs they run on, time and again.
constexpr std::int64_t patience_ns = 5'000;

slot* borrow_patiently(pool& from) noexcept {
    slot* found = from.try_borrow_to_share();
    if (found != nullptr) return found;
    const std::int64_t until = now_ns() + patience_ns;
    do {
        for (int i = 0; i < 16 && found == nullptr; ++i) {
            cpu_pause();
            found = from.try_borrow_to_share();
        }
    } while (found == nullptr && now_ns() < until);
    return found;
}

} // namespace

submitted launch::submit_to(pool& on, const ref<cancel_token>& token) {
    cut_for_participants();
    add_hold(); // the queue's
    submitted answer{};
    try {
        answer = on.submit(*this);
    } catch (...) {
        (void)drop_hold();
        call_finish();
        throw;
    }
    if (answer == submitted::no_thread) {
        (void)on.abandon(*this, phase::refused); // its entry stays in the queue, as a husk
        return answer;
    }
    if (answer == submitted::accepted) {
        watch(token);
    } else {
        (void)drop_hold();
        if (answer != submitted::full) call_finish();
    }
    return answer;
}

submitted launch::share_on(frame& where, const ref<cancel_token>& token) {
    pool& on = where.owner;
    if (record_.num_workers > 1 && wants_more(1)) {
        seat(where); // before a worker that looks for work right now asks for one more in our place
        const submitted answer = submit_to(on, token);
        if (answer == submitted::accepted) on.take_part(*this, where);
        if (answer != submitted::full) return answer; // else there is this thread
    }
    if (!on.open_here(*this)) {
        call_finish();
        return submitted::closed;
    }
    watch(token);
    on.take_part(*this, where);
    return submitted::accepted;
}

submitted launch_queued(pool& on, launch& what, const ref<cancel_token>& token) {
    if (on.closed()) return submitted::closed;
    if (what.prepare()) {
        const submitted answer = what.submit_to(on, token);
        if (answer == submitted::full) what.forget_attempt();
        return answer;
    }
    what.end_without_chunks();
    return submitted::accepted;
}

submitted launch_sharing(pool& on, launch& what, worker_env& env, const ref<cancel_token>& token) {
    if (on.closed()) return submitted::closed;
    if (!what.prepare()) {
        what.end_without_chunks();
        return submitted::accepted;
    }
    if (frame* const mine = frame::of(on)) {
        frame nested(on, mine->where, mine->env, false);
        return what.share_on(nested, token);
    }
    // The slot first: afterwards the workers might have them all.
    slot* const borrowed = borrow_patiently(on);
    if (borrowed == nullptr) {
        const submitted answer = what.submit_to(on, token);
        if (answer == submitted::full) what.forget_attempt();
        return answer;
    }
    submitted answer{};
    try {
        frame here(on, *borrowed, env, false);
        answer = what.share_on(here, token);
    } catch (...) {
        on.give_back(*borrowed);
        throw;
    }
    on.give_back(*borrowed);
    return answer;
}

} // namespace loomy
