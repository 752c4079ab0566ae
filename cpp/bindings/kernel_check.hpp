#pragma once

#include <Python.h>

#include <cstdint>

#include "buffer_argument.hpp"
#include "kernel_object.hpp"

namespace loomy::py {

// Compares the arguments of a call with what the kernel takes. Each step returns false with an error set that
// names kernel and argument: TypeError for what it is (no array, another dtype or byte order), ValueError for
// how it lies (dimensions, lengths, alignment, overlap), BufferError for what cannot be lent (read-only,
// another device).
class argument_check {
  public:
    argument_check(const kernel_facts& kernel, PyObject* name, PyObject* const* args,
                   std::uint32_t count) noexcept
        : kernel_(kernel), name_(name), args_(args), count_(count) {}

    [[nodiscard]] bool count_fits() const;
    [[nodiscard]] bool take_all(held_argument* held, loomy_buffer* buffers) const;
    // Equal lengths where the signature says so, and the iteration space; `n` is null or what the caller
    // wants.
    [[nodiscard]] bool lengths(const loomy_buffer* buffers, const std::int64_t* n, std::int64_t& total) const;
    // What is written shares no memory with anything.
    [[nodiscard]] bool overlaps(const loomy_buffer* buffers) const;

  private:
    using parameter = kernel_signature::parameter;

    [[nodiscard]] bool take(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const;
    [[nodiscard]] bool take_unchecked(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const;
    [[nodiscard]] bool take_declared(std::uint32_t i, const parameter& as, held_argument& held,
                                     loomy_buffer& buffer) const;
    [[nodiscard]] bool take_element(std::uint32_t i, held_argument& held, loomy_buffer& buffer) const;
    [[nodiscard]] bool check_array(std::uint32_t i, loomy_dtype dtype, bool written,
                                   const loomy_buffer& buffer) const;
    [[nodiscard]] bool check_one_block(std::uint32_t i, const loomy_buffer& buffer) const;

    [[nodiscard]] bool is_written(std::uint32_t i) const noexcept;
    // Whether an item of it is one element, which only that item's turn reads and writes.
    [[nodiscard]] bool is_by_elements(std::uint32_t i) const noexcept;
    [[nodiscard]] bool declared_lengths(const loomy_buffer* buffers, const std::int64_t*& space) const;
    [[nodiscard]] bool equal_shapes(const loomy_buffer* buffers, std::int64_t& total) const;
    [[nodiscard]] bool equal_firsts(const loomy_buffer* buffers, const std::int64_t*& space) const;
    [[nodiscard]] bool space_within(const std::int64_t* n, const std::int64_t* have,
                                    std::int64_t& total) const;
    [[nodiscard]] bool outputs_move(const loomy_buffer* buffers, std::int64_t total) const;

    // "argument 'x'" or "argument 2".
    [[nodiscard]] std::string label(std::uint32_t i) const;
    // Sets an error whose message begins with kernel and argument. Returns false.
    bool fail(PyObject* type, std::uint32_t i, const char* format, ...) const;
    // The error that is set, with that beginning.
    bool fail_as_set(std::uint32_t i) const;

    const kernel_facts& kernel_;
    PyObject* const name_;
    PyObject* const* const args_;
    const std::uint32_t count_;
};

} // namespace loomy::py
