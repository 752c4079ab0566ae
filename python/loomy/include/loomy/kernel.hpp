// loomy/kernel.hpp: kernels from C++ functions. Header-only, C++17, on top of the C ABI of loomy/kernel.h.
//
//     static void saxpy(loomy::range r, loomy::in<double> x, loomy::inout<double> y, double a) {
//         for (auto i : r) y[i] += a * x[i];
//     }
//     LOOMY_KERNEL(saxpy)
//
// defines `const loomy_kernel *loomy_kernel_saxpy()`, whose signature is read off the function's types. The
// function takes a loomy::range or a loomy::chunk first, then its arguments; it returns nothing or a
// loomy_status, and may throw: the exception's type becomes the error's.
#ifndef LOOMY_KERNEL_HPP
#define LOOMY_KERNEL_HPP

#include "kernel.h"

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

namespace loomy {

using index = std::int64_t;

// The items of a chunk, for `for (auto i : r)`.
class range {
  public:
    class iterator {
      public:
        using value_type = index;
        using difference_type = index;
        constexpr explicit iterator(index at) noexcept : at_(at) {}
        constexpr index operator*() const noexcept { return at_; }
        constexpr iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        constexpr bool operator!=(const iterator& other) const noexcept { return at_ != other.at_; }
        constexpr bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        index at_;
    };

    constexpr range(index first, index last) noexcept : first_(first), last_(last) {}
    [[nodiscard]] constexpr iterator begin() const noexcept { return iterator(first_); }
    [[nodiscard]] constexpr iterator end() const noexcept { return iterator(last_); }
    [[nodiscard]] constexpr index first() const noexcept { return first_; }
    [[nodiscard]] constexpr index last() const noexcept { return last_; } // one past the last item
    [[nodiscard]] constexpr index size() const noexcept { return last_ - first_; }

  private:
    index first_, last_;
};

// Stops a kernel with an error of this status; its message is the error's.
class error : public std::runtime_error {
  public:
    error(loomy_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
    [[nodiscard]] loomy_status status() const noexcept { return status_; }

  private:
    loomy_status status_;
};

// The launch was stopped. Throw it, or let stop_point() throw it, to end a kernel early.
class cancelled : public std::exception {
  public:
    [[nodiscard]] const char* what() const noexcept override { return "the launch was stopped"; }
};

namespace detail {

// A loop inside the chunk ended with this status; the host knows the rest.
struct nested_failure {
    int status;
};

// Reports the exception that is being handled and returns its status. What is no std::exception goes on: the
// host reports that by its type.
inline int report_exception(const loomy_call* call) {
    const auto fail = [call](int status, const char* text) { return loomy_fail(call, status, "%s", text); };
    try {
        throw;
#if defined(__GLIBCXX__)
    } catch (abi::__forced_unwind&) {
        throw; // the thread is being ended, by its system or by the interpreter: nothing may stop that
#endif
    } catch (const nested_failure& inner) {
        return inner.status;
    } catch (const cancelled&) {
        return LOOMY_CANCELLED;
    } catch (const error& e) {
        return fail(e.status(), e.what());
    } catch (const std::bad_alloc& e) {
        return fail(LOOMY_EMEMORY, e.what());
    } catch (const std::out_of_range& e) {
        return fail(LOOMY_EINDEX, e.what());
    } catch (const std::invalid_argument& e) {
        return fail(LOOMY_EVALUE, e.what());
    } catch (const std::domain_error& e) {
        return fail(LOOMY_EVALUE, e.what());
    } catch (const std::length_error& e) {
        return fail(LOOMY_EVALUE, e.what());
    } catch (const std::range_error& e) {
        return fail(LOOMY_EVALUE, e.what());
    } catch (const std::overflow_error& e) {
        return fail(LOOMY_EOVERFLOW, e.what());
    } catch (const std::system_error& e) {
        return fail(LOOMY_EOS, e.what());
    } catch (const std::exception& e) {
        return fail(LOOMY_ERROR, e.what());
    }
}

template <class Function>
int run_reporting(const loomy_call* call, Function&& function) {
    try {
        if constexpr (std::is_void_v<decltype(function())>) {
            function();
            return LOOMY_OK;
        } else {
            return static_cast<int>(function());
        }
#if defined(__GLIBCXX__)
    } catch (abi::__forced_unwind&) {
        throw;
#endif
    } catch (...) {
        return report_exception(call);
    }
}

} // namespace detail

// What a kernel may ask of its host. Stands for one chunk; valid while that runs.
class chunk {
  public:
    explicit chunk(const loomy_call& call) noexcept : call_(&call) {}

    [[nodiscard]] range items() const noexcept { return {call_->begin, call_->end}; }
    [[nodiscard]] index number() const noexcept { return call_->chunk; } // of a fixed partition, else -1
    [[nodiscard]] index total() const noexcept { return call_->launch->total; }
    [[nodiscard]] unsigned worker() const noexcept { return call_->worker; }
    [[nodiscard]] unsigned workers() const noexcept { return call_->launch->num_workers; }
    [[nodiscard]] bool should_stop() const noexcept { return loomy_should_stop(call_) != 0; }
    void stop_point() const {
        if (should_stop()) throw cancelled();
    }

    // Uninitialised memory until the chunk ends. Throws std::bad_alloc.
    template <class T>
    [[nodiscard]] T* scratch(std::size_t count) const {
        static_assert(std::is_trivially_destructible_v<T>, "nothing destroys what lies in scratch memory");
        if (count > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
        void* const memory = loomy_scratch(call_, count * sizeof(T), alignof(T));
        if (memory == nullptr) throw std::bad_alloc();
        return static_cast<T*>(memory);
    }

    // body(range) or body(chunk) over [begin, end), on this thread and those that are free. What a part
    // throws ends the loop, and this chunk with it.
    template <class Body>
    void parallel_for(index begin, index end, index grain, Body&& body) const {
        using plain = std::remove_reference_t<Body>;
        const loomy_range_fn part = [](const loomy_call* call, void* context) -> int {
            return detail::run_reporting(call, [&] {
                plain& inner = *static_cast<plain*>(context);
                if constexpr (std::is_invocable_v<plain&, chunk>) {
                    return inner(chunk(*call));
                } else {
                    return inner(range(call->begin, call->end));
                }
            });
        };
        const void* const context = std::addressof(body);
        const int status = loomy_parallel_for(call_, begin, end, grain, part, const_cast<void*>(context));
        if (status != LOOMY_OK) throw detail::nested_failure{status};
    }

    [[nodiscard]] const loomy_call* c_call() const noexcept { return call_; }

  private:
    const loomy_call* call_;
};

struct any_layout {};
struct contiguous {}; // C order without gaps: what a compiler needs to vectorise

// What an array's first dimension is: the items of the launch, or something of its own (a table, the parts of
// a reduction).
enum class along { items, nothing };

namespace detail {

// The dtype of a signature.
template <class T>
struct dtype;
template <>
struct dtype<bool> {
    static constexpr char kind = 'b';
};
template <class T>
struct dtype_of_class {
    static constexpr char kind = std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
    static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8,
                  "a kernel's elements are numbers of up to 8 bytes");
};
template <class T>
struct dtype : dtype_of_class<T> {};
template <class T>
struct dtype<std::complex<T>> {
    static constexpr char kind = 'c';
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                  "a kernel's complex elements are std::complex<float> or std::complex<double>");
};

// Text made by the compiler, so that kernels are constants.
struct text {
    std::array<char, 512> chars{};
    std::size_t length = 0;
    constexpr void add(char one) {
        // Running out of it is a compile error: this is evaluated at compile time only.
        chars[length] = one;
        ++length;
    }
    constexpr void add_number(std::size_t number) {
        if (number >= 10) add_number(number / 10);
        add(static_cast<char>('0' + number % 10));
    }
};

} // namespace detail

// An array argument: element (i, j, ...) of type T.
template <class T, int Rank, class Layout, bool Written, along First>
class view {
  public:
    using value_type = std::conditional_t<Written, T, const T>;
    static_assert(Rank >= 1 && Rank <= 8, "arrays have 1 to 8 dimensions");

    explicit view(const loomy_buffer& of) noexcept : data_(static_cast<char*>(of.data)) {
        for (int d = 0; d < Rank; ++d) {
            lengths_[static_cast<std::size_t>(d)] = of.shape[d];
            steps_[static_cast<std::size_t>(d)] = of.strides[d];
        }
    }

    template <class... Indexes>
    [[nodiscard]] value_type& operator()(Indexes... at) const noexcept {
        static_assert(sizeof...(at) == Rank, "one index for each dimension");
        return *element({static_cast<index>(at)...}, std::make_index_sequence<Rank>());
    }
    // The element, or of more dimensions the first one of the row.
    [[nodiscard]] value_type& operator[](index i) const noexcept {
        if constexpr (Rank == 1 && std::is_same_v<Layout, contiguous>) {
            return reinterpret_cast<value_type*>(data_)[i];
        } else {
            return *reinterpret_cast<value_type*>(data_ + i * steps_[0]);
        }
    }
    [[nodiscard]] index size(int dimension = 0) const noexcept {
        return lengths_[static_cast<std::size_t>(dimension)];
    }
    // In bytes.
    [[nodiscard]] index stride(int dimension = 0) const noexcept {
        return steps_[static_cast<std::size_t>(dimension)];
    }
    [[nodiscard]] value_type* data() const noexcept { return reinterpret_cast<value_type*>(data_); }

    static constexpr void describe(detail::text& into) {
        into.add(detail::dtype<T>::kind);
        into.add_number(sizeof(T));
        into.add('[');
        into.add(First == along::items ? 'n' : ':');
        for (int d = 1; d < Rank; ++d) {
            into.add(',');
            into.add(':');
        }
        into.add(']');
        if (std::is_same_v<Layout, contiguous>) into.add('c');
        if (Written) into.add('!');
    }
    [[nodiscard]] static view from(const loomy_buffer& argument) noexcept { return view(argument); }

  private:
    template <std::size_t... D>
    value_type* element(const std::array<index, Rank>& at, std::index_sequence<D...>) const noexcept {
        return reinterpret_cast<value_type*>(data_ + (... + (at[D] * steps_[D])));
    }

    char* data_;
    std::array<index, Rank> lengths_{};
    std::array<index, Rank> steps_{};
};

template <class T, int Rank = 1, class Layout = any_layout>
using in = view<T, Rank, Layout, false, along::items>;
template <class T, int Rank = 1, class Layout = any_layout>
using out = view<T, Rank, Layout, true, along::items>;
template <class T, int Rank = 1, class Layout = any_layout>
using inout = out<T, Rank, Layout>; // the host does not tell them apart: what is written is written
template <class T, int Rank = 1, class Layout = any_layout>
using in_table = view<T, Rank, Layout, false, along::nothing>;
template <class T, int Rank = 1, class Layout = any_layout>
using out_table = view<T, Rank, Layout, true, along::nothing>;

namespace detail {

// Scalars are arguments by value.
template <class T>
struct argument {
    static constexpr void describe(text& into) {
        into.add(dtype<T>::kind);
        into.add_number(sizeof(T));
    }
    [[nodiscard]] static T from(const loomy_buffer& given) noexcept {
        return *static_cast<const T*>(given.data);
    }
};
template <class T, int Rank, class Layout, bool Written, along First>
struct argument<view<T, Rank, Layout, Written, First>> : view<T, Rank, Layout, Written, First> {};

template <class First>
First first_of(const loomy_call* call) noexcept {
    if constexpr (std::is_same_v<First, chunk>) {
        return chunk(*call);
    } else {
        static_assert(std::is_same_v<First, range>, "a kernel takes a loomy::range or a loomy::chunk first");
        return range(call->begin, call->end);
    }
}

template <auto Function, class Type = decltype(Function)>
struct thunk;
template <auto Function, class Result, class First, class... Arguments>
struct thunk<Function, Result (*)(First, Arguments...)> {
    using first = std::remove_cv_t<std::remove_reference_t<First>>;
    template <class T>
    using plain = std::remove_cv_t<std::remove_reference_t<T>>;

    static constexpr text make_signature() {
        text made;
        bool later = false;
        ((later ? made.add(' ') : void(), later = true, argument<plain<Arguments>>::describe(made)), ...);
        return made;
    }
    static constexpr text signature = make_signature();

    static int run(const loomy_call* call) { return run_with(call, std::index_sequence_for<Arguments...>()); }

  private:
    template <std::size_t... I>
    static int run_with(const loomy_call* call, std::index_sequence<I...>) {
        if (call->launch->nargs != sizeof...(Arguments)) {
            return loomy_fail(call, LOOMY_ETYPE, "the kernel takes %d arguments, not %d",
                              static_cast<int>(sizeof...(Arguments)), static_cast<int>(call->launch->nargs));
        }
        return run_reporting(call, [&]() -> Result {
            return Function(first_of<first>(call),
                            argument<plain<Arguments>>::from(call->launch->args[I])...);
        });
    }
};
template <auto Function, class Result, class... All>
struct thunk<Function, Result (*)(All...) noexcept> : thunk<static_cast<Result (*)(All...)>(Function)> {};

} // namespace detail
} // namespace loomy

// The kernel of a function, under the function's name. Use it outside any namespace.
#define LOOMY_KERNEL(function) LOOMY_KERNEL_NAMED(function, function, 0, 0)

// The same with a name of its own, the fewest items of a chunk (0: the host decides) and LOOMY_K_ flags.
#define LOOMY_KERNEL_NAMED(name_, function_, grain_, flags_)                 \
    extern "C" LOOMY_EXPORT const loomy_kernel* loomy_kernel_##name_(void) { \
        using thunk = ::loomy::detail::thunk<&function_>;                    \
        static const loomy_kernel kernel = {LOOMY_KERNEL_HEADER,             \
                                            #name_,                          \
                                            thunk::signature.chars.data(),   \
                                            nullptr,                         \
                                            &thunk::run,                     \
                                            nullptr,                         \
                                            nullptr,                         \
                                            nullptr,                         \
                                            (grain_),                        \
                                            (flags_)};                       \
        return &kernel;                                                      \
    }

#endif
