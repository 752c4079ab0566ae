#pragma once

#include <cstdint>

namespace bench {

// What the queues carry is a pointer to one of these: the consumers add up the values.
struct item {
    std::uint64_t value;
};

// Every queue is wrapped the same way:
//
//   struct some_queue {
//       static constexpr const char* name;      // in the output
//       static constexpr const char* note;      // what it promises less than a linearizable lock-free FIFO
//       class user {                            // one per thread
//           explicit user(some_queue&);
//           bool try_push(item*);               // false: full
//           item* try_pop();                    // null: it found none
//           std::size_t try_push_many(item**, std::size_t);   // how many went in
//           std::size_t try_pop_many(item**, std::size_t);    // how many came out
//       };
//   };

// The two bulk operations of a queue that has none.
template <class User>
struct one_by_one {
    std::size_t try_push_many(item** items, std::size_t count) {
        std::size_t done = 0;
        while (done < count && self().try_push(items[done])) ++done;
        return done;
    }
    std::size_t try_pop_many(item** items, std::size_t count) {
        std::size_t done = 0;
        while (done < count && (items[done] = self().try_pop()) != nullptr) ++done;
        return done;
    }

  private:
    User& self() { return static_cast<User&>(*this); }
};

} // namespace bench
