// The sleep/wake protocol under Relacy, step by step as cpp/README.md numbers it. It mirrors
//   submit         pool::admit, notify, wake_worker, wake_lowest (cpp/loomy/exec/pool.cpp), without threads
//   to start work           pool::run_worker, work_until_idle, stop_searching (worker.cpp), after_release
//   (lifecycle.cpp) borrow         pool::try_borrow_to_share, give_back (helping.cpp) park, unpark   parker
//   (cpp/loomy/sync/parker.hpp), as a semaphore
// The queue is a count of jobs here: that was_empty() and a push are on one side or the other of each other
// is what model_queue shows. A wake-up that is lost leaves a job and sleepers: a deadlock, which Relacy
// finds.

#include "relacy_alone.hpp"

#include <relacy/stdlib/semaphore.hpp>

namespace {

using rl::mo_relaxed;
using rl::mo_seq_cst;

enum class plant { none, looks_before_bit, licence_after_look, no_look_again, relaxed_look };

template <unsigned Workers, unsigned Submitters, unsigned Borrowers, plant Bug>
struct wake : rl::test_suite<wake<Workers, Submitters, Borrowers, Bug>, Workers + Submitters + Borrowers> {
    static constexpr int jobs_each = 2;

    rl::atomic<int> queue, searching, ran;
    rl::atomic<unsigned> free_slots;
    rl::var<bool> search_on_wake[Workers], leave_on_wake[Workers]; // of whoever has the slot
    rl::semaphore<struct parker> park[Workers];

    void before() {
        queue.store(0, mo_relaxed, RL_INFO);
        searching.store(0, mo_relaxed, RL_INFO);
        ran.store(0, mo_relaxed, RL_INFO);
        free_slots.store((1u << Workers) - 1, mo_relaxed, RL_INFO);
        for (unsigned id = 0; id < Workers; ++id) {
            search_on_wake[id](RL_INFO) = leave_on_wake[id](RL_INFO) = false;
            park[id].init(false, 0, 1, RL_INFO); // without spurious wake-ups, which would hide lost ones
        }
    }
    void after() {
        for (auto& one : park) one.deinit(RL_INFO);
    }
    void thread(unsigned me) {
        if (me < Workers) {
            work(me);
        } else if (me < Workers + Submitters) {
            for (int i = 0; i < jobs_each; ++i) {
                pause();
                submit();
            }
        } else {
            pause();
            borrow();
        }
    }
    // For as many steps of the others as one takes to run a job and fall asleep, at most.
    void pause() {
        for (unsigned steps = rl::rand(20); steps > 0; --steps) rl::yield(1, RL_INFO);
    }

    // Who submits.

    void submit() {
        queue.fetch_add(1, mo_seq_cst, RL_INFO); // (2)
        notify();
    }
    void notify() {
        if (searching.load(mo_seq_cst, RL_INFO) != 0) return; // (3)
        for (;;) {
            if (free_slots.load(mo_seq_cst, RL_INFO) == 0) return; // (4)
            int nobody = 0;
            if (!searching.compare_exchange_strong(nobody, 1, mo_seq_cst, RL_INFO)) return; // (5)
            unsigned id = 0;
            if (take_lowest(id)) { // (6)
                search_on_wake[id](RL_INFO) = true;
                unpark(id);
                return;
            }
            searching.store(0, mo_seq_cst, RL_INFO); // (7)
            if (Bug == plant::no_look_again) return;
            if (was_empty()) return; // (8)
        }
    }
    bool take_lowest(unsigned& id) {
        unsigned free = free_slots.load(mo_seq_cst, RL_INFO);
        while (free != 0) {
            const unsigned lowest = free & (~free + 1);
            if (!free_slots.compare_exchange_weak(free, free & ~lowest, mo_seq_cst, RL_INFO)) continue;
            for (id = 0; lowest != 1u << id;) ++id;
            return true;
        }
        return false;
    }

    void unpark(unsigned id) {
        unsigned before = 0;
        RL_ASSERT(park[id].post(1, before, RL_INFO)); // who has taken the bit: one token at most
    }

    // Who goes to sleep. It sleeps at first, as a worker whose thread is started when it is woken.

    void work(unsigned self) {
        for (;;) {
            park[self].wait(false, false, RL_INFO); // (e)
            if (leave_on_wake[self](RL_INFO)) return;
            bool has_licence = search_on_wake[self](RL_INFO);
            search_on_wake[self](RL_INFO) = false;
            if (!work_until_idle(has_licence)) break;
            if (Bug == plant::looks_before_bit && !was_empty()) notify();
            release(self); // (a)
            if (Bug == plant::licence_after_look && !was_empty()) notify();
            if (has_licence) searching.store(0, mo_seq_cst, RL_INFO); // (b)
            if (Bug == plant::looks_before_bit || Bug == plant::licence_after_look) continue;
            if (!was_empty()) notify(); // (d)
        }
        // The last job has run: the others are sent away as they fall asleep.
        for (unsigned left = Workers - 1; left > 0;) {
            unsigned id = 0;
            if (!take_lowest(id)) {
                rl::yield(1, RL_INFO);
                continue;
            }
            leave_on_wake[id](RL_INFO) = true;
            unpark(id);
            --left;
        }
    }
    // False: that was the last job.
    bool work_until_idle(bool& has_licence) {
        for (;;) {
            if (try_pop()) {
                if (has_licence) {
                    has_licence = false;
                    searching.store(0, mo_seq_cst, RL_INFO);
                    if (!was_empty()) notify();
                }
                if (ran.fetch_add(1, mo_seq_cst, RL_INFO) + 1 == jobs_each * static_cast<int>(Submitters))
                    return false;
                continue;
            }
            int nobody = 0;
            if (has_licence || !searching.compare_exchange_strong(nobody, 1, mo_seq_cst, RL_INFO))
                return true;
            has_licence = true;
        }
    }
    void release(unsigned id) { free_slots.fetch_or(1u << id, mo_seq_cst, RL_INFO); }

    // A caller that takes a slot and gives it back.

    void borrow() {
        unsigned id = 0;
        if (!take_lowest(id)) return;
        release(id);
        if (!was_empty()) notify();
    }

    // The queue.

    bool was_empty() {
        return queue.load(Bug == plant::relaxed_look ? mo_relaxed : mo_seq_cst, RL_INFO) == 0;
    }
    bool try_pop() {
        int seen = queue.load(mo_seq_cst, RL_INFO);
        while (seen != 0) {
            if (queue.compare_exchange_weak(seen, seen - 1, mo_seq_cst, RL_INFO)) return true;
        }
        return false;
    }
};

} // namespace

int main() {
    using models::ends_as_it_should;
    bool fine = true;
    fine &= ends_as_it_should<wake<1, 1, 0, plant::none>>("1 worker, 1 submitter", 20'000, true);
    fine &= ends_as_it_should<wake<1, 2, 1, plant::none>>("1 worker, 2 submitters, 1 borrower", 50'000, true);
    fine &= ends_as_it_should<wake<2, 2, 0, plant::none>>("2 workers, 2 submitters", 50'000, true);
    fine &= ends_as_it_should<wake<2, 1, 1, plant::none>>("2 workers, 1 submitter, 1 borrower", 50'000, true);

    fine &= ends_as_it_should<wake<1, 1, 0, plant::looks_before_bit>>("(d) before (a)", 50'000, false);
    fine &= ends_as_it_should<wake<1, 1, 0, plant::licence_after_look>>("(b) after (d)", 50'000, false);
    fine &= ends_as_it_should<wake<1, 2, 1, plant::no_look_again>>("no (8)", 100'000, false);
    fine &= ends_as_it_should<wake<1, 1, 0, plant::relaxed_look>>("(d) relaxed", 50'000, false);
    return fine ? 0 : 1;
}
