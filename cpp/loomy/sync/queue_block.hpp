#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "loomy/base/cacheline.hpp"
#include "loomy/sync/stepped_atomic.hpp"

namespace loomy {

// Every atomic access of mpmc_queue, for the injection hook. In the order of the code.
enum class queue_step : std::uint8_t {
    push_reads_tail,
    push_claims,
    push_fills,
    push_leaves_spoiled,
    push_many_reads_tail,
    push_many_claims,
    append_reads_tail,
    append_reads_next,
    append_links,
    append_counts,
    move_tail_reads,
    move_tail,
    pop_reads_head,
    pop_reads_seen,
    pop_reads_tail,
    pop_notes_tail,
    pop_claims,
    pop_reads_cell,
    pop_waits,
    pop_spoils,
    pop_leaves,
    settle_reads_recycled,
    settle_reads_head,
    settle_reads_tail,
    settle_rereads_recycled,
    settle_guards_head,
    settle_reads_next,
    move_head_reads,
    move_head,
    move_head_counts,
    empty_reads_recycled,
    empty_reads_head,
    empty_reads_tail,
    empty_rereads_recycled,
    empty_guards_head,
    empty_reads_tail_guarded,
    empty_reads_cell,
    empty_reads_next,
    guard_finds_slot,
    guard_takes_slot,
    guard_moves,
    guard_joins_crowd,
    guard_releases,
    guard_leaves_crowd,
    store_takes_spare,
    store_keeps_spare,
    store_counts_recycled,
    retire_reads_top,
    retire_links,
    collect_reads_top,
    collect_takes_all,
    collect_reads_cell,
    collect_reads_guard,
    collect_reads_crowd,
    size_reads,
    count_,
};

// Blocks are aligned, so that a place (below) packs into one word, but no more than 48-bit addresses need:
// the C++ library rounds a size up to its alignment and the allocator puts its header before it, so a run of
// blocks has gaps of one alignment each.
inline constexpr unsigned queue_block_alignment_bits = 8;
inline constexpr std::size_t queue_block_alignment = std::size_t{1} << queue_block_alignment_bits;
inline constexpr std::size_t queue_block_bytes = 2048;
inline constexpr std::size_t queue_block_cells = (queue_block_bytes - cache_line) / sizeof(std::uintptr_t);

// What a cell holds when it is not an item. A cell goes
//     vacant -> item -> finished                 the producer fills it, the consumer takes the item
//     vacant -> spoiled -> finished              the consumer came first and gave up; the producer saw that
// Each cell has one producer and one consumer, the threads that claimed its index; `finished` is the last
// access of either, so a block whose cells are all finished is referred to by no claim.
namespace cell_state {
inline constexpr std::uintptr_t vacant = 0;
inline constexpr std::uintptr_t spoiled = 1;
inline constexpr std::uintptr_t finished = 2;
[[nodiscard]] constexpr bool is_item(std::uintptr_t value) noexcept {
    return value > finished;
}
} // namespace cell_state

template <class Step, std::size_t Cells>
struct alignas(queue_block_alignment) queue_block {
    static constexpr std::size_t cells_count = Cells;

    // 0, or once and for all the place at which the tail continues: the next block and the number of its
    // cells that were filled before it was linked (at least one). The whole word, so that whoever helps the
    // tail along need not look into a block that it has not protected.
    stepped_atomic<std::uint64_t, Step, queue_step> next;

    // For the owner of a list of retired or reserved blocks; see block_store.
    queue_block* next_in_list = nullptr;
    std::size_t known_finished = 0;

    alignas(cache_line) stepped_atomic<std::uintptr_t, Step, queue_step> cells[Cells];
};

static_assert(sizeof(queue_block<no_step, queue_block_cells>) == queue_block_bytes);
static_assert(queue_block_cells >= 32 && queue_block_cells % 8 == 0);

// A block and an index in one 64-bit word: one fetch_add claims a cell and tells in which block.
template <class Block>
struct queue_place {
    static constexpr unsigned index_bits = 24;
    static constexpr std::uint64_t index_mask = (std::uint64_t{1} << index_bits) - 1;
    static constexpr unsigned address_bits = queue_block_alignment_bits + 64 - index_bits;
    static_assert(alignof(Block) == queue_block_alignment);

    // A thread adds one only after it has seen an index below cells_count, so the index exceeds that by at
    // most one for each thread inside an operation. 2^22 is the most threads a Linux system can have.
    static_assert(index_mask > Block::cells_count + (std::uint64_t{1} << 22));

    [[nodiscard]] static bool fits(const void* block) noexcept {
        return (std::uint64_t{reinterpret_cast<std::uintptr_t>(block)} >> address_bits) == 0;
    }
    [[nodiscard]] static std::uint64_t pack(const Block* block, std::uint64_t index) noexcept {
        return (std::uint64_t{reinterpret_cast<std::uintptr_t>(block)} >> queue_block_alignment_bits
                                                                              << index_bits) |
               index;
    }
    [[nodiscard]] static Block* block_of(std::uint64_t place) noexcept {
        return reinterpret_cast<Block*>(
            static_cast<std::uintptr_t>(place >> index_bits << queue_block_alignment_bits));
    }
    [[nodiscard]] static std::size_t index_of(std::uint64_t place) noexcept {
        return static_cast<std::size_t>(place & index_mask);
    }
    [[nodiscard]] static bool same_block(std::uint64_t a, std::uint64_t b) noexcept {
        return (a ^ b) <= index_mask;
    }
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

} // namespace loomy
