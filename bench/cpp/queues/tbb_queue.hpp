#pragma once

#include <oneapi/tbb/concurrent_queue.h>

#include "item.hpp"

namespace bench {

struct tbb_queue {
    static constexpr const char* name = "oneTBB";
    static constexpr const char* note =
        "blocking: a producer that stops before its write holds up the consumers of its lane";

    class user : public one_by_one<user> {
      public:
        explicit user(tbb_queue& home) : queue_(home.queue) {}
        bool try_push(item* one) {
            queue_.push(one);
            return true;
        }
        item* try_pop() {
            item* first = nullptr;
            return queue_.try_pop(first) ? first : nullptr;
        }

      private:
        oneapi::tbb::concurrent_queue<item*>& queue_;
    };

    oneapi::tbb::concurrent_queue<item*> queue;
};

} // namespace bench
