#pragma once

#include <atomic_queue/atomic_queue.h>

#include "item.hpp"

namespace bench {

struct atomic_queue_queue {
    static constexpr const char* name = "atomic_queue";
    static constexpr const char* note =
        "weaker: a ring of 65,536 that can be full; a thread that stops between its claim and its cell holds "
        "up others";

    class user : public one_by_one<user> {
      public:
        explicit user(atomic_queue_queue& home) : queue_(home.queue) {}
        bool try_push(item* one) { return queue_.try_push(one); }
        item* try_pop() {
            item* first = nullptr;
            return queue_.try_pop(first) ? first : nullptr;
        }

      private:
        atomic_queue::AtomicQueue<item*, 65536>& queue_;
    };

    atomic_queue::AtomicQueue<item*, 65536> queue;
};

} // namespace bench
