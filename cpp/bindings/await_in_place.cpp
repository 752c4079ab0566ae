#include "await_in_place.hpp"

#include <algorithm>
#include <atomic>

#include "await_inside_job.hpp"
#include "gil.hpp"
#include "loomy/base/clock.hpp"
#include "loomy/sync/spin.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

// Whether a task runs inside a step of another one, which is not in the loop's queue and yet has things to
// do. 1, 0, or -1 with an error set.
int is_nested_step() {
    static std::atomic<PyObject*> known{nullptr};
    PyObject* eager_tasks = known.load(std::memory_order_acquire);
    if (eager_tasks == nullptr) {
        eager_tasks = borrowed_class("loomy._asyncio_bridge", "eager_tasks");
        if (eager_tasks == nullptr) return -1;
        known.store(eager_tasks, std::memory_order_release);
    }
    const Py_ssize_t count = PyObject_Size(eager_tasks);
    return count < 0 ? -1 : count > 0 ? 1 : 0;
}

} // namespace

before stay(event_loop& loop) {
    const int stays = loop.may_stay();
    return stays > 0 ? before::go_on : stays == 0 ? before::turn : before::failed;
}

before wait_in_place(async_result* result, event_loop& loop, std::int64_t& since_ns) {
    python_pool& home = *result->job.home;
    if (frame::top() != nullptr) return await_inside_job(result, loop);
    switch (loop.what_else()) {
        case event_loop::others::ready:
            return before::go_on;
        case event_loop::others::unknown:
            // So others are held up at most once in a turn.
            if (loop.turn_asked) return before::turn;
            break;
        case event_loop::others::none:
            break;
    }
    const int nested = is_nested_step();
    if (nested != 0) return nested < 0 ? before::failed : before::go_on;
    if (const before first = stay(loop); first != before::go_on) return first;
    {
        // Spinning alone: to be woken from a sleep costs about as much as the turns of the loop that are to
        // be saved. Detached, as the loop would be when it sleeps.
        const gil::detached scope;
        (void)home.await_spin.spin([result] { return result->job.finished(); }, since_ns);
    }
    return before::go_on;
}

} // namespace loomy::py
