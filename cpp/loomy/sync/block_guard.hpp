#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "loomy/sync/queue_block.hpp"

namespace loomy {

// Hazard pointers for the rare operations that look into a block without holding a claim in it. A slot is
// taken for one operation and given back at its end: nothing is registered per thread, nothing is allocated.
// Should every slot be taken (so many threads stopped at a block boundary), further threads join a crowd
// that protects all blocks: reclamation pauses until they leave, progress does not.
template <class Step>
class guard_slots {
  public:
    static constexpr std::size_t count = 32;

    // For a block that neither head nor tail refers to any more. Wait-free.
    [[nodiscard]] bool protects(const void* block) const noexcept {
        // (G2) seq_cst, after the word was moved off the block (also seq_cst): pairs with (G1).
        // acquire: sees the reads of a guard given back at (G3) as finished.
        for (const auto& slot : slots_) {
            if (slot.load(queue_step::collect_reads_guard, std::memory_order_seq_cst) ==
                reinterpret_cast<std::uintptr_t>(block))
                return true;
        }
        return crowd_.load(queue_step::collect_reads_crowd, std::memory_order_seq_cst) != 0;
    }

  private:
    template <class Block, class S>
    friend class block_guard;

    stepped_atomic<std::uintptr_t, Step, queue_step> slots_[count];
    stepped_atomic<std::size_t, Step, queue_step> crowd_;
};

// Protects the block a word refers to, from construction to release.
template <class Block, class Step>
class block_guard {
    using place = queue_place<Block>;

  public:
    using word = stepped_atomic<std::uint64_t, Step, queue_step>;

    // Lock-free: it goes round again only when the word has moved to another block.
    block_guard(guard_slots<Step>& slots, const word& from, queue_step reading) noexcept : slots_(slots) {
        place_ = from.load(reading, std::memory_order_relaxed);
        take_slot();
        for (;;) {
            // (G1) seq_cst: the block was announced before, in take_slot or below, and the word still refers
            // to it now. A reclaimer first moves the word and then reads the announcements (G2); of two such
            // pairs at least one sees the other. acquire: the block's contents, from whoever moved the word.
            const std::uint64_t now = from.load(reading, std::memory_order_seq_cst);
            const bool confirmed = slot_ == nullptr || place::same_block(now, place_);
            place_ = now;
            if (confirmed) return;
            slot_->store(queue_step::guard_moves, address(), std::memory_order_seq_cst);
        }
    }
    block_guard(const block_guard&) = delete;
    block_guard& operator=(const block_guard&) = delete;
    ~block_guard() {
        if (held_) release();
    }

    // What the word was at a moment when its block was protected.
    [[nodiscard]] std::uint64_t where() const noexcept { return place_; }

    void release() noexcept {
        held_ = false;
        // (G3) release: pairs with (G2).
        if (slot_ != nullptr) {
            slot_->store(queue_step::guard_releases, 0, std::memory_order_release);
        } else {
            slots_.crowd_.fetch_sub(queue_step::guard_leaves_crowd, 1, std::memory_order_release);
        }
    }

  private:
    [[nodiscard]] std::uintptr_t address() const noexcept {
        return reinterpret_cast<std::uintptr_t>(place::block_of(place_));
    }

    void take_slot() noexcept {
        for (auto& slot : slots_.slots_) {
            std::uintptr_t free = 0;
            if (slot.load(queue_step::guard_finds_slot, std::memory_order_relaxed) != 0) continue;
            if (slot.compare_exchange(queue_step::guard_takes_slot, free, address(),
                                      std::memory_order_seq_cst, std::memory_order_relaxed)) {
                slot_ = &slot;
                return;
            }
        }
        slots_.crowd_.fetch_add(queue_step::guard_joins_crowd, 1, std::memory_order_seq_cst);
    }

    guard_slots<Step>& slots_;
    stepped_atomic<std::uintptr_t, Step, queue_step>* slot_ = nullptr;
    std::uint64_t place_ = 0;
    bool held_ = true;
};

} // namespace loomy
