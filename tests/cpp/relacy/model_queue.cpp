// The queue under Relacy: cpp/loomy/sync/mpmc_queue*.hpp, queue_block.hpp, block_guard.hpp and
// block_store.hpp, line for line, on the atomics of ./loomy/sync/stepped_atomic.hpp. Blocks of one or two
// cells, so that all of it is about their boundaries.

#include "relacy_alone.hpp"

#include "loomy/sync/mpmc_queue.hpp"

namespace {

using loomy::queue_step;

struct item {
    alignas(8) rl::var<int> payload;
    rl::atomic<int> popped;
};

template <class Queue>
item* take(Queue& from) {
    item* const one = from.try_pop();
    if (one == nullptr) return nullptr;
    RL_ASSERT(one->payload(RL_INFO) == 7);                             // what its producer wrote
    RL_ASSERT(one->popped.fetch_add(1, rl::mo_relaxed, RL_INFO) == 0); // nobody else has it
    return one;
}

template <class Queue>
void put(Queue& into, item& one) {
    one.payload(RL_INFO) = 7;
    into.push(&one);
}

// Each thread pushes one before it pops one: the queue is never empty when it pops.
template <std::size_t Cells, unsigned Threads>
struct push_then_pop : rl::test_suite<push_then_pop<Cells, Threads>, Threads> {
    loomy::mpmc_queue<item, loomy::no_step, Cells> queue;
    item items[Threads];

    void before() {
        for (item& one : items) one.popped.store(0, rl::mo_relaxed, RL_INFO);
    }
    void thread(unsigned me) {
        put(queue, items[me]);
        RL_ASSERT(take(queue) != nullptr);
    }
    void after() { RL_ASSERT(queue.try_pop() == nullptr); }
};

// One producer, two consumers: items leave in the order in which they came.
template <std::size_t Cells>
struct first_in_first_out : rl::test_suite<first_in_first_out<Cells>, 3> {
    static constexpr int count = 3;
    loomy::mpmc_queue<item, loomy::no_step, Cells> queue;
    item items[count];

    void before() {
        for (item& one : items) one.popped.store(0, rl::mo_relaxed, RL_INFO);
    }
    void thread(unsigned me) {
        if (me == 0) {
            for (item& one : items) put(queue, one);
            return;
        }
        const item* last = nullptr;
        for (int i = 0; i < count; ++i) {
            const item* const one = take(queue);
            RL_ASSERT(one == nullptr || one > last);
            if (one != nullptr) last = one;
        }
    }
    void after() {
        const item* last = nullptr;
        while (const item* const one = take(queue)) {
            RL_ASSERT(one > last);
            last = one;
        }
        for (item& one : items) RL_ASSERT(one.popped.load(rl::mo_relaxed, RL_INFO) == 1);
    }
};

// Who pushes and then looks for a note, and who leaves a note and then looks into the queue: one sees the
// other. A third thread goes through blocks meanwhile.
template <std::size_t Cells>
struct push_or_note : rl::test_suite<push_or_note<Cells>, 3> {
    loomy::mpmc_queue<item, loomy::no_step, Cells> queue;
    item items[2];
    rl::atomic<int> note;
    int missed[2]; // each written by one thread and read afterwards

    void before() {
        missed[0] = missed[1] = 0;
        note.store(0, rl::mo_relaxed, RL_INFO);
        for (item& one : items) one.popped.store(0, rl::mo_relaxed, RL_INFO);
    }
    void thread(unsigned me) {
        if (me == 0) {
            put(queue, items[0]);
            missed[0] = note.load(rl::mo_seq_cst, RL_INFO) == 0;
        } else if (me == 1) {
            note.store(1, rl::mo_seq_cst, RL_INFO);
            missed[1] = queue.was_empty();
        } else {
            put(queue, items[1]);
        }
    }
    void after() { RL_ASSERT(missed[0] + missed[1] < 2); }
};

bool with_relaxed(queue_step where, bool (*model)()) {
    loomy::planted_point = static_cast<int>(where);
    const bool found = model();
    loomy::planted_point = -1;
    return found;
}

} // namespace

int main() {
    using models::ends_as_it_should;
    bool fine = true;
    fine &= ends_as_it_should<push_then_pop<1, 2>>("push then pop: 2 threads, blocks of 1", 20'000, true);
    fine &= ends_as_it_should<push_then_pop<1, 3>>("push then pop: 3 threads, blocks of 1", 10'000, true);
    fine &= ends_as_it_should<push_then_pop<2, 3>>("push then pop: 3 threads, blocks of 2", 10'000, true);
    fine &= ends_as_it_should<first_in_first_out<1>>("first in, first out: blocks of 1", 10'000, true);
    fine &= ends_as_it_should<first_in_first_out<2>>("first in, first out: blocks of 2", 10'000, true);
    fine &= ends_as_it_should<push_or_note<2>>("push or note: blocks of 2", 20'000, true);
    fine &= ends_as_it_should<push_or_note<1>>("push or note: blocks of 1", 10'000, true);

    fine &= with_relaxed(queue_step::pop_reads_cell, [] {
        return ends_as_it_should<first_in_first_out<4>>("(C2) relaxed", 20'000, false);
    });
    fine &= with_relaxed(queue_step::push_fills, [] {
        return ends_as_it_should<first_in_first_out<4>>("(C1) relaxed", 20'000, false);
    });
    fine &= with_relaxed(queue_step::append_links, [] {
        return ends_as_it_should<first_in_first_out<1>>("(N1) relaxed", 10'000, false);
    });
    fine &= with_relaxed(queue_step::empty_reads_tail,
                         [] { return ends_as_it_should<push_or_note<2>>("(E2) relaxed", 10'000, false); });
    return fine ? 0 : 1;
}
