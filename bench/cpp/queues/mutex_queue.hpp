#pragma once

#include <algorithm>
#include <deque>
#include <mutex>

#include "item.hpp"

namespace bench {

struct mutex_queue {
    static constexpr const char* name = "mutex + deque";
    static constexpr const char* note = "blocking: a thread that stops with the lock stops all";

    class user {
      public:
        explicit user(mutex_queue& home) : home_(home) {}
        bool try_push(item* one) {
            const std::lock_guard guard(home_.lock);
            home_.items.push_back(one);
            return true;
        }
        item* try_pop() {
            const std::lock_guard guard(home_.lock);
            if (home_.items.empty()) return nullptr;
            item* const first = home_.items.front();
            home_.items.pop_front();
            return first;
        }
        std::size_t try_push_many(item** items, std::size_t count) {
            const std::lock_guard guard(home_.lock);
            home_.items.insert(home_.items.end(), items, items + count);
            return count;
        }
        std::size_t try_pop_many(item** items, std::size_t count) {
            const std::lock_guard guard(home_.lock);
            const std::size_t done = std::min(count, home_.items.size());
            const auto end = home_.items.begin() + static_cast<std::ptrdiff_t>(done);
            std::copy(home_.items.begin(), end, items);
            home_.items.erase(home_.items.begin(), end);
            return done;
        }

      private:
        mutex_queue& home_;
    };

    std::mutex lock;
    std::deque<item*> items;
};

} // namespace bench
