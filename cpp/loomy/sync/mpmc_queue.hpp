#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/base/cpu.hpp"
#include "loomy/sync/block_guard.hpp"
#include "loomy/sync/block_store.hpp"
#include "loomy/sync/queue_block.hpp"
#include "loomy/sync/stepped_atomic.hpp"

namespace loomy {

// Unbounded queue of pointers for any number of producers and consumers: linearizable FIFO, lock-free. A
// thread stopped anywhere in an operation keeps no other thread from completing pushes and pops.
//
// The FAA-array queue of Ramalhete and Correia (a linked list of blocks whose cells are claimed by fetch_add
// on the tail and on the head index) with three changes: block and index share one word, so that the claim
// itself protects the block; a block is recycled once every cell of it is finished, so that the common path
// does nothing for reclamation; guards are only taken at block boundaries. A push costs two locked
// instructions, a pop one.
//
// Why it is linearizable. Items leave in the order of their cells, because both indexes only grow. A push
// takes effect when its cell or any later one is first filled (linking a block fills the cells it brings);
// that is after the claim of its own cell, as cells are claimed in order. A pop takes effect at its claim, or
// with the push of its cell if that is later. Both are within the operation and follow the order of the
// cells. "Empty" takes effect when the tail is read (at the end of a block: its `next`): at that moment every
// cell that was claimed for an item was claimed by a consumer too.
//
// Why it is lock-free. A consumer that spoils cells under a producer could go on so for ever, but only to the
// end of the block: the next block is linked with the item already in it.
//
// Orders: words, cells and `next` are seq_cst where an argument compares two of them; on x86 that costs
// nothing beyond the locked instruction, on AArch64 nothing beyond acquire and release.
template <class T, class Step = no_step, std::size_t BlockCells = queue_block_cells>
class mpmc_queue {
    using block = queue_block<Step, BlockCells>;
    using place = queue_place<block>;
    using guard = block_guard<block, Step>;
    using reserve = block_reserve<block, Step>;
    using cell_atomic = stepped_atomic<std::uintptr_t, Step, queue_step>;
    using word = stepped_atomic<std::uint64_t, Step, queue_step>;

  public:
    static constexpr std::size_t block_cells = BlockCells;

    // Allocates the first block.
    mpmc_queue() {
        static_assert(alignof(T) >= 4, "an item's address must differ from every cell state");
        block* first = store_.take();
        head_.set_exclusive(place::pack(first, 0));
        tail_.set_exclusive(place::pack(first, 0));
    }
    // No other thread may be in an operation. The items are not the queue's.
    ~mpmc_queue() {
        for (std::uint64_t at = head_.peek_exclusive(); at != 0;) {
            block* current = place::block_of(at);
            at = current->next.peek_exclusive();
            block_store<block, Step>::free(current);
        }
    }
    mpmc_queue(const mpmc_queue&) = delete;
    mpmc_queue& operator=(const mpmc_queue&) = delete;

    // `item` is not null; the same pointer may be in the queue any number of times. Throws std::bad_alloc,
    // and then the item is not in the queue. Lock-free (as far as the allocator is, once per block).
    void push(T* item) {
        assert(item != nullptr);
        for (;;) {
            // Relaxed: only a hint that keeps the index from running away; the claim looks again.
            const std::uint64_t tail = tail_.load(queue_step::push_reads_tail, std::memory_order_relaxed);
            if (index(tail) < BlockCells) [[likely]] {
                // (T1) acquire: pairs with (T3): the block as built. seq_cst: pairs with (E2), see was_empty.
                const std::uint64_t claim =
                    tail_.fetch_add(queue_step::push_claims, 1, std::memory_order_seq_cst);
                if (index(claim) < BlockCells) [[likely]] {
                    if (fill(place::block_of(claim)->cells[index(claim)], item)) return;
                    continue;
                }
            }
            if (push_at_boundary(item)) return;
        }
    }

    // Pushes them in this order, as if one by one (others' items may come in between, though not within the
    // cells claimed in one block unless a consumer spoils one). Throws std::bad_alloc, and then none of them
    // is in the queue. Lock-free (as far as the allocator is).
    void push_many(T* const* items, std::size_t count) {
        reserve blocks(store_);
        // Enough for all of them, so that nothing can fail once the first is in. Usually that is the spare,
        // and it goes back.
        for (std::size_t covered = 0; covered < count; covered += BlockCells) blocks.add();
        while (count != 0) {
            std::size_t done = 0;
            std::uint64_t claim = tail_.load(queue_step::push_many_reads_tail, std::memory_order_relaxed);
            if (index(claim) < BlockCells) {
                // Not fetch_add: it could run past the end by more than one.
                const std::size_t wanted = std::min(count, BlockCells - index(claim));
                // (T2) as (T1).
                if (tail_.compare_exchange(queue_step::push_many_claims, claim, claim + wanted,
                                           std::memory_order_seq_cst, std::memory_order_relaxed))
                    done = fill_run(claim, items, wanted);
            } else {
                done = append(items, count, blocks);
            }
            items += done;
            count -= done;
        }
    }

    // nullptr: the queue was empty at a moment during the call. Lock-free.
    [[nodiscard]] T* try_pop() noexcept {
        unsigned patience = 24;
        for (;;) {
            // (E1) seq_cst, head first: see settle.
            const std::uint64_t head = head_.load(queue_step::pop_reads_head, std::memory_order_seq_cst);
            if (!is_known_before(head)) {
                const std::uint64_t tail = tail_.load(queue_step::pop_reads_tail, std::memory_order_seq_cst);
                if (index(head) >= BlockCells || caught_up(head, tail)) [[unlikely]] {
                    if (settle()) return nullptr;
                    continue;
                }
                note_tail(head, tail);
            }
            // (H1) acquire: pairs with (H2): the block as built. seq_cst: its order with (E1) and (E2).
            const std::uint64_t claim = head_.fetch_add(queue_step::pop_claims, 1, std::memory_order_seq_cst);
            if (index(claim) >= BlockCells) continue;
            cell_atomic& cell = place::block_of(claim)->cells[index(claim)];
            // (C2) acquire: pairs with (C1): what the producer wrote into the item.
            std::uintptr_t value = cell.load(queue_step::pop_reads_cell, std::memory_order_acquire);
            if (!cell_state::is_item(value)) [[unlikely]] {
                value = wait_or_spoil(cell, patience);
                if (value == cell_state::vacant) continue;
            }
            // (C3) release: pairs with (C5). A plain store: the producer is done with a cell that it filled.
            cell.store(queue_step::pop_leaves, cell_state::finished, std::memory_order_release);
            return reinterpret_cast<T*>(value);
        }
    }

    // The answer held at a moment during the call and is old by the time it is read. In a sleep protocol: a
    // consumer makes its sleep known and then asks this; a producer pushes and then looks for sleepers; if
    // both the note and the look are seq_cst, one of the two sees the other. Lock-free.
    [[nodiscard]] bool was_empty() const noexcept;

    // Exact while no operation is under way, otherwise off by those under way, or by a block. Wait-free.
    [[nodiscard]] std::size_t approx_size() const noexcept;

  private:
    [[nodiscard]] static std::size_t index(std::uint64_t at) noexcept { return place::index_of(at); }
    [[nodiscard]] static bool caught_up(std::uint64_t head, std::uint64_t tail) noexcept {
        return place::same_block(head, tail) && tail <= head;
    }

    // Consumers remember how far the tail had come when one of them last looked, beside the head: a look at
    // the tail takes its cache line from the producers, and a consumer that is some items behind need not.
    // Only a hint, so relaxed: one that is out of date, of an earlier use of the same block, makes consumers
    // claim cells that nobody fills, which they then spoil, as they may at any time.
    [[nodiscard]] bool is_known_before(std::uint64_t head) const noexcept {
        const std::uint64_t seen = tail_seen_.load(queue_step::pop_reads_seen, std::memory_order_relaxed);
        return head < seen && place::same_block(head, seen);
    }
    void note_tail(std::uint64_t head, std::uint64_t tail) noexcept {
        // A tail in another block, or past the end of this one, on its way there: all its cells are claimed.
        // No further than the end, or consumers would add to the head past it.
        if (!place::same_block(head, tail) || index(tail) > BlockCells)
            tail = head - index(head) + BlockCells;
        tail_seen_.store(queue_step::pop_notes_tail, tail, std::memory_order_relaxed);
    }

    [[nodiscard]] static bool fill(cell_atomic& cell, T* item) noexcept;
    [[nodiscard]] static std::size_t fill_run(std::uint64_t claim, T* const* items,
                                              std::size_t cells) noexcept;
    [[nodiscard]] static std::uintptr_t wait_or_spoil(cell_atomic& cell, unsigned& patience) noexcept;

    [[nodiscard]] bool push_at_boundary(T* item);
    [[nodiscard]] std::size_t append(T* const* items, std::size_t count, reserve& blocks);
    void move_tail(const block* from, std::uint64_t to) noexcept;
    [[nodiscard]] bool settle() noexcept;
    void move_head(block* from, std::uint64_t to, guard& held) noexcept;

    alignas(cache_line) word head_;
    word left_;      // blocks that head has left; for approx_size, as is linked_
    word tail_seen_; // see is_known_before
    alignas(cache_line) word tail_;
    word linked_; // blocks after the first
    alignas(cache_line) mutable block_store<block, Step> store_;

    static_assert(sizeof(word) * 3 <= cache_line, "head and tail have a cache line each");
};

} // namespace loomy

#include "loomy/sync/mpmc_queue_slow.hpp"
