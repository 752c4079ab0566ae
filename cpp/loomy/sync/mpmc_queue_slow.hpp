#pragma once

// The rarer paths of mpmc_queue: cells that a consumer reached first, block boundaries, the answer "empty".

#include "loomy/sync/mpmc_queue.hpp"

namespace loomy {

// Wait-free. False: a consumer has given the cell up, and the caller needs another one.
template <class T, class Step, std::size_t BlockCells>
inline bool mpmc_queue<T, Step, BlockCells>::fill(cell_atomic& cell, T* item) noexcept {
    std::uintptr_t seen = cell_state::vacant;
    // (C1) release: pairs with (C2). seq_cst: pairs with (E4). On failure acquire: pairs with (C6), so that
    // (C4) covers both parties.
    if (cell.compare_exchange(queue_step::push_fills, seen, reinterpret_cast<std::uintptr_t>(item),
                              std::memory_order_seq_cst, std::memory_order_acquire)) [[likely]]
        return true;
    // (C4) release: pairs with (C5).
    cell.store(queue_step::push_leaves_spoiled, cell_state::finished, std::memory_order_release);
    return false;
}

// Wait-free. How many items went in: an item whose cell is spoiled moves to the next cell, and so do those
// behind it, so their order is kept.
template <class T, class Step, std::size_t BlockCells>
[[gnu::noinline]] std::size_t mpmc_queue<T, Step, BlockCells>::fill_run(std::uint64_t claim, T* const* items,
                                                                        std::size_t cells) noexcept {
    cell_atomic* cell = &place::block_of(claim)->cells[index(claim)];
    std::size_t done = 0;
    for (cell_atomic* end = cell + cells; cell != end; ++cell) {
        if (fill(*cell, items[done])) ++done;
    }
    return done;
}

// Wait-free. The item that came after all, or `vacant` once the cell is spoiled. A consumer waits only as
// long as a producer that is running takes from its claim to its item; `patience` is for the whole pop.
template <class T, class Step, std::size_t BlockCells>
[[gnu::noinline]] std::uintptr_t mpmc_queue<T, Step, BlockCells>::wait_or_spoil(cell_atomic& cell,
                                                                                unsigned& patience) noexcept {
    std::uintptr_t seen = cell_state::vacant;
    for (; patience != 0; --patience) {
        cpu_pause();
        seen = cell.load(queue_step::pop_waits, std::memory_order_acquire); // as (C2)
        if (cell_state::is_item(seen)) return seen;
    }
    // (C6) release: pairs with the failing (C1), after which the producer closes the cell for both.
    // On failure as (C2).
    if (cell.compare_exchange(queue_step::pop_spoils, seen, cell_state::spoiled, std::memory_order_acq_rel,
                              std::memory_order_acquire))
        return cell_state::vacant;
    return seen;
}

// Lock-free. False: try again from the start.
template <class T, class Step, std::size_t BlockCells>
[[gnu::noinline]] bool mpmc_queue<T, Step, BlockCells>::push_at_boundary(T* item) {
    reserve blocks(store_);
    return append(&item, 1, blocks) != 0;
}

// At the end of the last block: links another with the first items in it. How many those are; 0 if the tail
// has moved to a block that someone else linked. Only throws when `blocks` is empty. Lock-free.
template <class T, class Step, std::size_t BlockCells>
std::size_t mpmc_queue<T, Step, BlockCells>::append(T* const* items, std::size_t count, reserve& blocks) {
    const guard held(store_.guards(), tail_, queue_step::append_reads_tail);
    if (index(held.where()) < BlockCells) return 0;
    block* last = place::block_of(held.where());
    std::uint64_t next = last->next.load(queue_step::append_reads_next, std::memory_order_acquire); // as (N2)
    std::size_t done = 0;
    if (next == 0) {
        if (blocks.empty()) blocks.add();
        block* fresh = blocks.take();
        done = std::min(count, BlockCells);
        for (std::size_t i = 0; i < done; ++i)
            fresh->cells[i].set_exclusive(reinterpret_cast<std::uintptr_t>(items[i]));
        const std::uint64_t ours = place::pack(fresh, done);
        // (N1) release: pairs with (N2): the block as built, and its items. seq_cst: pairs with (E3) and
        // (E5).
        if (last->next.compare_exchange(queue_step::append_links, next, ours, std::memory_order_seq_cst,
                                        std::memory_order_acquire)) {
            next = ours;
            linked_.fetch_add(queue_step::append_counts, 1, std::memory_order_relaxed);
        } else {
            for (std::size_t i = 0; i < done; ++i) fresh->cells[i].set_exclusive(cell_state::vacant);
            blocks.put(fresh);
            done = 0;
        }
    }
    move_tail(last, next);
    return done;
}

// `from` is guarded and `to` its next. Anyone may do this, so that a thread stopped after linking is in
// nobody's way. Lock-free: another round means that someone claimed past the end, once per thread.
template <class T, class Step, std::size_t BlockCells>
void mpmc_queue<T, Step, BlockCells>::move_tail(const block* from, std::uint64_t to) noexcept {
    std::uint64_t now = tail_.load(queue_step::move_tail_reads, std::memory_order_seq_cst);
    while (place::block_of(now) == from) {
        // (T3) release: pairs with (T1), (T2), (G1).
        if (tail_.compare_exchange(queue_step::move_tail, now, to, std::memory_order_seq_cst,
                                   std::memory_order_seq_cst))
            return;
    }
}

// For a consumer that sees no item. True: the queue was empty. False: it may try again. Lock-free.
template <class T, class Step, std::size_t BlockCells>
[[gnu::noinline]] bool mpmc_queue<T, Step, BlockCells>::settle() noexcept {
    const std::uint64_t before = store_.recycled(queue_step::settle_reads_recycled);
    // (E1) seq_cst, head first: when the tail is read, the head is where it was read or further, so all that
    // was pushed had been claimed. Unless that was another use of the same block, which (R2) tells.
    const std::uint64_t head = head_.load(queue_step::settle_reads_head, std::memory_order_seq_cst);
    const std::uint64_t tail = tail_.load(queue_step::settle_reads_tail, std::memory_order_seq_cst);
    if (index(head) < BlockCells) {
        if (!caught_up(head, tail) || store_.recycled(queue_step::settle_rereads_recycled) != before)
            return false;
        if (store_.has_retired()) store_.collect();
        return true;
    }
    guard held(store_.guards(), head_, queue_step::settle_guards_head);
    if (index(held.where()) < BlockCells) return false;
    block* first = place::block_of(held.where());
    // (N2) acquire: pairs with (N1). (E3) seq_cst: the head cannot have left a block whose next is still
    // null, so all of its cells are claimed and there is nothing behind it.
    const std::uint64_t next = first->next.load(queue_step::settle_reads_next, std::memory_order_seq_cst);
    if (next != 0) {
        move_tail(first, next); // before the head: a block is retired only after both have left it
        move_head(first, next, held);
        return false;
    }
    held.release();
    if (store_.has_retired()) store_.collect();
    return true;
}

// `from` is guarded by `held`, `to` its next, and the tail has left it. Lock-free, as move_tail.
template <class T, class Step, std::size_t BlockCells>
void mpmc_queue<T, Step, BlockCells>::move_head(block* from, std::uint64_t to, guard& held) noexcept {
    const std::uint64_t start = place::pack(place::block_of(to), 0);
    std::uint64_t now = head_.load(queue_step::move_head_reads, std::memory_order_seq_cst);
    while (place::block_of(now) == from) {
        // (H2) release: pairs with (H1), (G1). seq_cst: before (G2).
        if (head_.compare_exchange(queue_step::move_head, now, start, std::memory_order_seq_cst,
                                   std::memory_order_seq_cst)) {
            left_.fetch_add(queue_step::move_head_counts, 1, std::memory_order_relaxed);
            held.release();
            store_.retire(from);
            return;
        }
    }
}

template <class T, class Step, std::size_t BlockCells>
[[gnu::noinline]] bool mpmc_queue<T, Step, BlockCells>::was_empty() const noexcept {
    for (;;) {
        const std::uint64_t before = store_.recycled(queue_step::empty_reads_recycled);
        // (E2) seq_cst: pairs with (T1), (T2), (T3). As in settle.
        const std::uint64_t head = head_.load(queue_step::empty_reads_head, std::memory_order_seq_cst);
        const std::uint64_t tail = tail_.load(queue_step::empty_reads_tail, std::memory_order_seq_cst);
        if (index(head) < BlockCells && caught_up(head, tail) &&
            store_.recycled(queue_step::empty_rereads_recycled) == before)
            return true;

        // Cells are claimed; whether there is an item only a look at them can tell: of a push and a pop under
        // way, the push may yet be spoiled.
        const guard held(store_.guards(), head_, queue_step::empty_guards_head);
        const block* first = place::block_of(held.where());
        const std::uint64_t limit =
            tail_.load(queue_step::empty_reads_tail_guarded, std::memory_order_seq_cst);
        std::size_t end = BlockCells;
        if (place::block_of(limit) == first) end = std::min(end, index(limit));
        std::uintptr_t value = cell_state::vacant;
        for (std::size_t at = index(held.where()); at < end && value == cell_state::vacant; ++at) {
            // (E4) seq_cst: pairs with (C1).
            value = first->cells[at].load(queue_step::empty_reads_cell, std::memory_order_seq_cst);
        }
        // An item that no consumer had claimed when the head was read: it was in the queue then, or right
        // after its push, if that came later. The same goes for the item that comes with the next block.
        if (cell_state::is_item(value)) return false;
        if (value != cell_state::vacant) continue; // a consumer was here: the head has moved on
        // (E5) seq_cst: pairs with (N1). Null: when `limit` was read, no cell that was claimed for an item
        // and not for a consumer had been filled.
        return first->next.load(queue_step::empty_reads_next, std::memory_order_seq_cst) == 0;
    }
}

template <class T, class Step, std::size_t BlockCells>
std::size_t mpmc_queue<T, Step, BlockCells>::approx_size() const noexcept {
    const auto read = [](const word& from) {
        return from.load(queue_step::size_reads, std::memory_order_relaxed);
    };
    const auto position = [](std::uint64_t blocks, std::uint64_t at) {
        return blocks * BlockCells + std::min(index(at), BlockCells);
    };
    const std::uint64_t begin = position(read(left_), read(head_));
    const std::uint64_t end = position(read(linked_), read(tail_));
    return end > begin ? static_cast<std::size_t>(end - begin) : 0;
}

} // namespace loomy
