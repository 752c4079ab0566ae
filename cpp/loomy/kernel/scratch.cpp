#include "loomy/kernel/scratch.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <new>

namespace loomy {

scratch_arena::~scratch_arena() {
    for (const block& one : blocks_) ::operator delete(one.start);
}

void* scratch_arena::take(std::size_t bytes, std::size_t align) noexcept {
    if (align == 0) align = alignof(std::max_align_t);
    if (!std::has_single_bit(align)) return nullptr;
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 4; // sums of a few do not overflow
    if (bytes > most || align > most) return nullptr;
    bytes = std::max<std::size_t>(bytes, 1);
    for (std::size_t index = current_, used = used_; index < blocks_.size(); ++index, used = 0) {
        const auto start = reinterpret_cast<std::uintptr_t>(blocks_[index].start);
        const std::size_t offset = ((start + used + align - 1) & ~(align - 1)) - start;
        if (offset + bytes > blocks_[index].size) continue;
        current_ = index;
        used_ = offset + bytes;
        return blocks_[index].start + offset;
    }
    const std::size_t last = blocks_.empty() ? first_block / 2 : blocks_.back().size;
    const std::size_t size = std::max(bytes + align, 2 * last);
    std::byte* start = nullptr;
    try {
        blocks_.reserve(blocks_.size() + 1); // first, so that the next line cannot lose what it has
        start = static_cast<std::byte*>(::operator new(size));
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    blocks_.push_back({start, size});
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    const std::size_t offset = ((address + align - 1) & ~(align - 1)) - address;
    current_ = blocks_.size() - 1;
    used_ = offset + bytes;
    return start + offset;
}

void scratch_arena::trim() noexcept {
    std::size_t total = 0;
    for (const block& one : blocks_) total += one.size;
    while (total > most_kept) {
        total -= blocks_.back().size;
        ::operator delete(blocks_.back().start);
        blocks_.pop_back();
    }
    release_to({0, 0});
}

} // namespace loomy
