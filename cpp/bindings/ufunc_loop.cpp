#include "ufunc_loop.hpp"

#include <algorithm>

#include "gil.hpp"
#include "lent_environment.hpp"

namespace loomy::py {
namespace {

constexpr std::size_t max_operands = 64; // NumPy's own bound

const numpy::array& view_of(PyObject* views, Py_ssize_t operand) noexcept {
    return *reinterpret_cast<const numpy::array*>(PyTuple_GET_ITEM(views, operand));
}

} // namespace

ufunc_loop::ufunc_loop(const numpy::call_info& info, PyObject* views)
    : info_(info), environment_(clean_environment()) {
    const Py_ssize_t operands = PyTuple_GET_SIZE(views);
    const int dimensions = view_of(views, 0).dimensions;
    data_.reserve(static_cast<std::size_t>(operands));
    inner_strides_.reserve(static_cast<std::size_t>(operands));
    for (Py_ssize_t i = 0; i < operands; ++i) {
        const numpy::array& view = view_of(views, i);
        data_.push_back(view.data);
        inner_strides_.push_back(dimensions != 0 ? view.strides[dimensions - 1] : 0);
    }
    for (int axis = 0; axis < dimensions - 1; ++axis) {
        const Py_ssize_t length = view_of(views, 0).shape[axis];
        rows_ *= length;
        outer_shape_.push_back(length);
        for (Py_ssize_t i = 0; i < operands; ++i) outer_strides_.push_back(view_of(views, i).strides[axis]);
    }
    if (dimensions != 0) row_length_ = view_of(views, 0).shape[dimensions - 1];
    if (row_length_ >= block) {
        blocks_in_row_ = (row_length_ + block - 1) / block;
        items_ = rows_ * blocks_in_row_;
    } else if (row_length_ > 0) {
        rows_in_item_ = std::max<std::int64_t>(block / row_length_, 1);
        items_ = (rows_ + rows_in_item_ - 1) / rows_in_item_;
    }
}

bool ufunc_loop::run(std::int64_t begin, std::int64_t end) {
    bool good = true;
    int raised = 0;
    {
        const lent_environment scope(environment_);
        if (blocks_in_row_ > 1) {
            while (good && begin < end) {
                const std::int64_t row = begin / blocks_in_row_;
                const std::int64_t first = begin % blocks_in_row_;
                const std::int64_t blocks = std::min(end - begin, blocks_in_row_ - first);
                const std::int64_t from = first * block;
                good = run_row(row, from, std::min(blocks * block, row_length_ - from));
                begin += blocks;
            }
        } else {
            const std::int64_t stop = std::min(end * rows_in_item_, rows_);
            for (std::int64_t row = begin * rows_in_item_; good && row < stop; ++row) {
                good = run_row(row, 0, row_length_);
            }
        }
        raised = scope.raised();
    }
    if (raised != 0 && info_.ignores_flags == 0) flags_.fetch_or(raised, std::memory_order_relaxed);
    return good && !gil::has_error_while_detached();
}

bool ufunc_loop::run_row(std::int64_t row, std::int64_t from, std::int64_t count) const {
    char* data[max_operands];
    const std::size_t operands = data_.size();
    for (std::size_t i = 0; i < operands; ++i) data[i] = data_[i] + from * inner_strides_[i];
    for (std::size_t axis = outer_shape_.size(); axis-- > 0;) {
        const std::int64_t at = row % outer_shape_[axis];
        row /= outer_shape_[axis];
        for (std::size_t i = 0; i < operands; ++i) data[i] += at * outer_strides_[axis * operands + i];
    }
    const Py_ssize_t counts[] = {static_cast<Py_ssize_t>(count)};
    return info_.loop(info_.context, data, counts, inner_strides_.data(), info_.auxiliary) == 0;
}

} // namespace loomy::py
