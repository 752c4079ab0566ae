#pragma once

#include <boost/lockfree/queue.hpp>

#include "item.hpp"

namespace bench {

struct boost_queue {
    static constexpr const char* name = "boost::lockfree";
    static constexpr const char* note = "never gives memory back before its end";

    class user : public one_by_one<user> {
      public:
        explicit user(boost_queue& home) : queue_(home.queue) {}
        bool try_push(item* one) { return queue_.push(one); }
        item* try_pop() {
            item* first = nullptr;
            return queue_.pop(first) ? first : nullptr;
        }

      private:
        boost::lockfree::queue<item*>& queue_;
    };

    boost::lockfree::queue<item*> queue{128};
};

} // namespace bench
