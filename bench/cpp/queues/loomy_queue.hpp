#pragma once

#include "item.hpp"
#include "loomy/sync/mpmc_queue.hpp"

namespace bench {

struct loomy_queue {
    static constexpr const char* name = "loomy";
    static constexpr const char* note = "";

    class user : public one_by_one<user> {
      public:
        explicit user(loomy_queue& home) : queue_(home.queue) {}
        bool try_push(item* one) {
            queue_.push(one);
            return true;
        }
        item* try_pop() { return queue_.try_pop(); }
        std::size_t try_push_many(item** items, std::size_t count) {
            queue_.push_many(items, count);
            return count;
        }

      private:
        loomy::mpmc_queue<item>& queue_;
    };

    loomy::mpmc_queue<item> queue;
};

} // namespace bench
