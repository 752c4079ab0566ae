#include "buffer_overlap.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

namespace loomy::py {
namespace {

// Where the bytes of an array lie: [first, last].
struct extent {
    std::int64_t first, last;
};

extent extent_of(const loomy_buffer& a) noexcept {
    auto first = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(a.data));
    std::int64_t last = first + a.itemsize - 1;
    for (std::int32_t d = 0; d < a.ndim; ++d) {
        const std::int64_t reach = (a.shape[d] - 1) * a.strides[d];
        (reach < 0 ? first : last) += reach;
    }
    return {first, last};
}

// Are there x[k] in 0 ... bound[k] with sum(step[k] * x[k]) == target? All steps are positive; the smallest
// is 1, as an element is made of bytes.
class bounded_sum {
  public:
    void add(std::int64_t step, std::int64_t bound) noexcept {
        if (bound == 0 && step != 1) return;
        for (std::size_t k = 0; k < count_; ++k) {
            if (terms_[k].step != step) continue;
            terms_[k].bound += bound;
            return;
        }
        terms_[count_++] = {step, bound, 0, 0};
    }

    // True as well when it cannot be told in reasonable time.
    [[nodiscard]] bool reaches(std::int64_t target) noexcept {
        std::sort(terms_.begin(), terms_.begin() + count_,
                  [](const term& a, const term& b) { return a.step > b.step; });
        std::int64_t sum = 0;
        std::int64_t divisor = 0;
        const std::int64_t bytes = terms_[count_ - 1].bound;
        for (std::size_t k = count_; k-- > 0;) {
            sum += terms_[k].step * terms_[k].bound;
            if (k != count_ - 1) divisor = std::gcd(divisor, terms_[k].step);
            terms_[k].most = sum;
            terms_[k].divisor = divisor;
        }
        slack_ = bytes;
        work_ = most_work;
        return search(0, target);
    }

  private:
    struct term {
        std::int64_t step, bound;
        std::int64_t most;    // that this and the smaller ones come to
        std::int64_t divisor; // of this and the smaller steps but the bytes
    };
    static constexpr int most_work = 20'000;

    bool search(std::size_t k, std::int64_t target) noexcept {
        if (target < 0 || target > terms_[k].most) return false;
        if (k == count_ - 1) return true; // bytes: each number up to `most`
        if (target % terms_[k].divisor > slack_) return false;
        if (--work_ < 0) return true;
        const std::int64_t step = terms_[k].step;
        const std::int64_t below = terms_[k + 1].most;
        const std::int64_t most = std::min(target / step, terms_[k].bound);
        const std::int64_t least = target > below ? (target - below + step - 1) / step : 0;
        for (std::int64_t x = most; x >= least; --x) {
            if (search(k + 1, target - x * step)) return true;
        }
        return false;
    }

    std::array<term, 2 * 64 + 1> terms_;
    std::size_t count_ = 0;
    std::int64_t slack_ = 0;
    int work_ = 0;
};

} // namespace

bool is_empty(const loomy_buffer& a) noexcept {
    if (a.itemsize == 0) return true;
    for (std::int32_t d = 0; d < a.ndim; ++d) {
        if (a.shape[d] == 0) return true;
    }
    return false;
}

bool is_same_array(const loomy_buffer& a, const loomy_buffer& b) noexcept {
    if (a.data != b.data || a.ndim != b.ndim || a.itemsize != b.itemsize) return false;
    for (std::int32_t d = 0; d < a.ndim; ++d) {
        if (a.shape[d] != b.shape[d]) return false;
        if (a.shape[d] > 1 && a.strides[d] != b.strides[d])
            return false; // of one element the step says nothing
    }
    return true;
}

bool may_overlap(const loomy_buffer& a, const loomy_buffer& b) noexcept {
    if (is_empty(a) || is_empty(b)) return false;
    const extent left = extent_of(a);
    const extent right = extent_of(b);
    if (left.last < right.first || right.last < left.first) return false;
    if ((a.flags & b.flags & LOOMY_BUF_C_CONTIG) != 0 || a.ndim > 64 || b.ndim > 64) return true;
    // A byte of a is at left.first + sum(|stride| * x) + p, one of b at right.last - sum(|stride| * y) - q:
    // the same one if the sums come to the difference.
    bounded_sum sum;
    sum.add(1, a.itemsize - 1 + b.itemsize - 1);
    for (const loomy_buffer* one : {&a, &b}) {
        for (std::int32_t d = 0; d < one->ndim; ++d) {
            const std::int64_t step = one->strides[d];
            if (step != 0) sum.add(step < 0 ? -step : step, one->shape[d] - 1);
        }
    }
    return sum.reaches(right.last - left.first);
}

bool may_overlap_itself(const loomy_buffer& a) noexcept {
    if (is_empty(a) || (a.flags & LOOMY_BUF_C_CONTIG) != 0) return false;
    if (a.ndim > 64) return true;
    std::array<std::int64_t, 64> steps; // of dimensions, by size: each must step over all of the smaller ones
    std::array<std::int64_t, 64> lengths;
    std::size_t count = 0;
    for (std::int32_t d = 0; d < a.ndim; ++d) {
        if (a.shape[d] == 1) continue;
        const std::int64_t step = a.strides[d] < 0 ? -a.strides[d] : a.strides[d];
        std::size_t at = count++;
        for (; at > 0 && steps[at - 1] > step; --at) {
            steps[at] = steps[at - 1];
            lengths[at] = lengths[at - 1];
        }
        steps[at] = step;
        lengths[at] = a.shape[d];
    }
    std::int64_t covered = a.itemsize;
    for (std::size_t k = 0; k < count; ++k) {
        if (steps[k] < covered) return true;
        covered += steps[k] * (lengths[k] - 1);
    }
    return false;
}

} // namespace loomy::py
