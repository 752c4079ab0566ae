// The part of argument_check that compares lengths and finds the iteration space.

#include <algorithm>
#include <vector>

#include "kernel_check.hpp"
#include "loomy/kernel/partition.hpp"

namespace loomy::py {

bool argument_check::lengths(const loomy_buffer* buffers, const std::int64_t* n, std::int64_t& total) const {
    const std::int64_t* space = nullptr;
    std::int64_t all = 0;
    if (kernel_.rule == argument_rule::each_element) {
        if (!equal_shapes(buffers, all)) return false;
        space = &all;
    } else if (kernel_.signature) {
        if (!declared_lengths(buffers, space)) return false;
    } else if (kernel_.rule == argument_rule::loop ||
               (kernel_.rule == argument_rule::as_declared && n == nullptr)) {
        if (!equal_firsts(buffers, space)) return false;
    }
    return space_within(n, space, total) && outputs_move(buffers, total);
}

// Chunks that write the same elements would do so at the same time.
bool argument_check::outputs_move(const loomy_buffer* buffers, std::int64_t total) const {
    if (kernel_.rule != argument_rule::loop || total <= 1) return true;
    for (std::uint32_t i = 0; i < count_; ++i) {
        if (!is_written(i) || kernel_.bare.moves(i, buffers[i])) continue;
        return fail(PyExc_ValueError, i,
                    "is written to, but has no dimension of the %lld items: all would write to the same",
                    static_cast<long long>(total));
    }
    return true;
}

bool argument_check::space_within(const std::int64_t* n, const std::int64_t* have,
                                  std::int64_t& total) const {
    if (n == nullptr && have == nullptr) {
        PyErr_Format(PyExc_TypeError,
                     "kernel '%U' needs n=..., the number of items: its arguments do not tell it", name_);
        return false;
    }
    if (n != nullptr && have != nullptr && *n > *have) {
        PyErr_Format(PyExc_ValueError, "kernel '%U': n=%lld is more than the arguments have, which is %lld",
                     name_, static_cast<long long>(*n), static_cast<long long>(*have));
        return false;
    }
    total = n != nullptr ? *n : *have;
    if (total <= partition::most_items) return true;
    PyErr_Format(PyExc_ValueError, "kernel '%U': %lld items are more than one launch can have", name_,
                 static_cast<long long>(total));
    return false;
}

// Named dimensions are bound by the first that has the name.
bool argument_check::declared_lengths(const loomy_buffer* buffers, const std::int64_t*& space) const {
    const kernel_signature& signature = *kernel_.signature;
    struct binding {
        const std::int64_t* length = nullptr;
        std::uint32_t argument = 0;
    };
    std::vector<binding> bound(signature.names.size());
    for (std::uint32_t i = 0; i < count_; ++i) {
        const auto& dimensions = signature.parameters[i].dimensions;
        for (std::size_t d = 0; d < dimensions.size(); ++d) {
            using kind = kernel_signature::dimension::kind;
            const std::int64_t& length = buffers[i].shape[d];
            if (dimensions[d].how == kind::any) continue;
            if (dimensions[d].how == kind::fixed) {
                if (length == dimensions[d].length) continue;
                return fail(PyExc_ValueError, i,
                            "has length %lld in dimension %zu where the kernel takes %lld",
                            static_cast<long long>(length), d, static_cast<long long>(dimensions[d].length));
            }
            binding& known = bound[dimensions[d].name];
            if (known.length == nullptr) known = {&length, i};
            if (*known.length == length) continue;
            return fail(PyExc_ValueError, i,
                        "has length %lld in dimension %zu, but %s has %lld (both are '%s')",
                        static_cast<long long>(length), d, label(known.argument).c_str(),
                        static_cast<long long>(*known.length), signature.names[dimensions[d].name].c_str());
        }
    }
    if (const auto n = signature.space()) space = bound[*n].length;
    return true;
}

// Of functions of single elements: all arrays have the shape of the output.
bool argument_check::equal_shapes(const loomy_buffer* buffers, std::int64_t& total) const {
    const loomy_buffer& output = buffers[count_ - 1];
    for (std::uint32_t i = 0; i + 1 < count_; ++i) {
        const loomy_buffer& one = buffers[i];
        if (one.ndim == 0) continue; // a number
        if (one.ndim != output.ndim) {
            return fail(PyExc_ValueError, i, "has %d dimensions, but the output has %d",
                        static_cast<int>(one.ndim), static_cast<int>(output.ndim));
        }
        for (std::int32_t d = 0; d < one.ndim; ++d) {
            if (one.shape[d] == output.shape[d]) continue;
            return fail(PyExc_ValueError, i, "has length %lld in dimension %d, but the output has %lld",
                        static_cast<long long>(one.shape[d]), static_cast<int>(d),
                        static_cast<long long>(output.shape[d]));
        }
    }
    total = 1;
    for (std::int32_t d = 0; d < output.ndim; ++d) {
        if (output.shape[d] == 0) {
            total = 0;
            return true;
        }
    }
    // Its elements share no memory, so there are no more of them than bytes... unless it is made up.
    for (std::int32_t d = 0; d < output.ndim; ++d) {
        if (output.shape[d] > partition::most_items / total)
            return fail(PyExc_ValueError, count_ - 1, "has more elements than one launch can have");
        total *= output.shape[d];
    }
    return true;
}

// Without a signature: each array's first dimension.
bool argument_check::equal_firsts(const loomy_buffer* buffers, const std::int64_t*& space) const {
    std::uint32_t first = 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
        if (buffers[i].ndim == 0) continue;
        if (space == nullptr) {
            space = buffers[i].shape;
            first = i;
        } else if (*space != buffers[i].shape[0]) {
            return fail(
                PyExc_ValueError, i, "has length %lld, but %s has %lld%s",
                static_cast<long long>(buffers[i].shape[0]), label(first).c_str(),
                static_cast<long long>(*space),
                kernel_.rule == argument_rule::loop ? "" : "; if that is meant, say how many items: n=...");
        }
    }
    return true;
}

} // namespace loomy::py
