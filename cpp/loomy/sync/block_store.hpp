#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "loomy/sync/block_guard.hpp"
#include "loomy/sync/queue_block.hpp"

namespace loomy {

// Where a queue's blocks come from and go to: one spare kept for reuse, and a list of retired blocks that
// some thread may still refer to.
template <class Block, class Step>
class block_store {
    template <class T>
    using atomic = stepped_atomic<T, Step, queue_step>;

  public:
    block_store() noexcept = default;
    block_store(const block_store&) = delete;
    block_store& operator=(const block_store&) = delete;
    ~block_store() {
        if (Block* spare = spare_.peek_exclusive()) free(spare);
        for (Block* block = retired_.peek_exclusive(); block != nullptr;) {
            Block* following = block->next_in_list;
            free(block);
            block = following;
        }
    }

    // A block fresh from construction: the spare, else a new one, or std::bad_alloc. As lock-free as the
    // allocator.
    [[nodiscard]] Block* take() {
        // (S1) acquire: pairs with (S2), whose thread built the block anew.
        if (Block* spare = spare_.exchange(queue_step::store_takes_spare, nullptr, std::memory_order_acquire))
            return spare;
        void* memory = ::operator new (sizeof(Block), std::align_val_t{alignof(Block)});
        if (!queue_place<Block>::fits(
                memory)) { // never seen; a failed allocation rather than a wrong pointer
            ::operator delete (memory, std::align_val_t{alignof(Block)});
            throw std::bad_alloc();
        }
        return std::construct_at(static_cast<Block*>(memory));
    }

    // For a block that only the caller knows. Lock-free.
    void give(Block* block) noexcept {
        std::destroy_at(block);
        std::construct_at(block);
        Block* none = nullptr;
        // (S2) release: pairs with (S1).
        if (!spare_.compare_exchange(queue_step::store_keeps_spare, none, block, std::memory_order_release,
                                     std::memory_order_relaxed))
            free(block);
    }

    // For a block that head and tail have both left; the caller no longer guards it. Lock-free.
    void retire(Block* block) noexcept {
        put_on_list(block);
        collect();
    }

    // Recycles the retired blocks that nobody refers to any more. A block is kept back for a claim in it that
    // is not finished or for a guard, that is by a thread inside an operation: one of each at most.
    // Lock-free.
    void collect() noexcept {
        // Threads that collect at once have disjoint lists, hence no ABA. (L1) acquire: pairs with (L2).
        Block* list = retired_.exchange(queue_step::collect_takes_all, nullptr, std::memory_order_acquire);
        while (list != nullptr) {
            Block* block = list;
            list = block->next_in_list;
            if (!all_finished(*block) || guards_.protects(block)) {
                put_on_list(block);
                continue;
            }
            // (R1) release: pairs with (R2); before the block can be linked again.
            recycled_.fetch_add(queue_step::store_counts_recycled, 1, std::memory_order_release);
            give(block);
        }
    }

    // Wait-free.
    [[nodiscard]] bool has_retired() const noexcept {
        return retired_.load(queue_step::collect_reads_top, std::memory_order_relaxed) != nullptr;
    }

    // As long as this count stays the same, a block seen at head or tail has not been there, gone and come
    // back: it is the same use of the block. Wait-free.
    [[nodiscard]] std::uint64_t recycled(queue_step reading) const noexcept {
        // (R2) acquire: a thread that counts a recycling in sees all words moved off that block. seq_cst only
        // so that it keeps its place among the reads of head and tail around it.
        return recycled_.load(reading, std::memory_order_seq_cst);
    }

    [[nodiscard]] guard_slots<Step>& guards() noexcept { return guards_; }

    static void free(Block* block) noexcept {
        std::destroy_at(block);
        ::operator delete (block, std::align_val_t{alignof(Block)});
    }

  private:
    void put_on_list(Block* block) noexcept {
        block->next_in_list = retired_.load(queue_step::retire_reads_top, std::memory_order_relaxed);
        // (L2) release: pairs with (L1).
        while (!retired_.compare_exchange(queue_step::retire_links, block->next_in_list, block,
                                          std::memory_order_release, std::memory_order_relaxed)) {
        }
    }

    [[nodiscard]] static bool all_finished(Block& block) noexcept {
        for (; block.known_finished < Block::cells_count; ++block.known_finished) {
            // (C5) acquire: pairs with (C3) and (C4), the last access of the cell's two parties.
            if (block.cells[block.known_finished].load(queue_step::collect_reads_cell,
                                                       std::memory_order_acquire) != cell_state::finished)
                return false;
        }
        return true;
    }

    atomic<Block*> spare_;
    atomic<Block*> retired_;
    atomic<std::uint64_t> recycled_;
    guard_slots<Step> guards_;
};

// Blocks set aside by one producer, so that what it does next cannot fail.
template <class Block, class Step>
class block_reserve {
  public:
    explicit block_reserve(block_store<Block, Step>& store) noexcept : store_(store) {}
    block_reserve(const block_reserve&) = delete;
    block_reserve& operator=(const block_reserve&) = delete;
    ~block_reserve() {
        while (first_ != nullptr) store_.give(take());
    }

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void add() { put(store_.take()); }
    void put(Block* block) noexcept {
        block->next_in_list = first_;
        first_ = block;
    }
    [[nodiscard]] Block* take() noexcept {
        Block* block = first_;
        first_ = block->next_in_list;
        block->next_in_list = nullptr;
        return block;
    }

  private:
    block_store<Block, Step>& store_;
    Block* first_ = nullptr;
};

} // namespace loomy
