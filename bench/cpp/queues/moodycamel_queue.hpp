#pragma once

#include <concurrentqueue/concurrentqueue.h>

#include "item.hpp"

namespace bench {

struct moodycamel_queue {
    static constexpr const char* name = "moodycamel";
    static constexpr const char* note =
        "weaker: order holds within one producer only, a pop may miss items that were pushed before it";

    // With tokens, as its author advises where the threads are known.
    class user {
      public:
        explicit user(moodycamel_queue& home) : queue_(home.queue), producer_(queue_), consumer_(queue_) {}
        bool try_push(item* one) { return queue_.enqueue(producer_, one); }
        item* try_pop() {
            item* first = nullptr;
            return queue_.try_dequeue(consumer_, first) ? first : nullptr;
        }
        std::size_t try_push_many(item** items, std::size_t count) {
            return queue_.enqueue_bulk(producer_, items, count) ? count : 0;
        }
        std::size_t try_pop_many(item** items, std::size_t count) {
            return queue_.try_dequeue_bulk(consumer_, items, count);
        }

      private:
        moodycamel::ConcurrentQueue<item*>& queue_;
        moodycamel::ProducerToken producer_;
        moodycamel::ConsumerToken consumer_;
    };

    moodycamel::ConcurrentQueue<item*> queue;
};

} // namespace bench
