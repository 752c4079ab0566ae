#include "kernel_shapes.hpp"

#include <algorithm>
#include <array>

#include "kernel_elements.hpp"
#include "loomy/exec/launch.hpp"

namespace loomy::py {
namespace {

const bare_function& function_of(const loomy_call* call) noexcept {
    return *static_cast<const bare_function*>(call->launch->user_data);
}

// What a function that knows nothing of loomy returned. Cython's functions leave their error on the thread;
// what they return then is any number, so it is not a status.
int status_of(const loomy_call* call, long long returned) {
    if (returned == LOOMY_OK || returned == LOOMY_CANCELLED) return static_cast<int>(returned);
    if (chunk_call::of(call).errors.raised()) return LOOMY_EPYTHON;
    return returned >= INT32_MIN && returned <= INT32_MAX ? static_cast<int>(returned) : LOOMY_ERROR;
}

template <class Result>
int run_range(const loomy_call* call) {
    const bare_function& self = function_of(call);
    const auto fn = reinterpret_cast<Result (*)(std::intptr_t, std::intptr_t, void*)>(self.address);
    void* const user = call->launch->nargs != 0 ? call->launch->args[0].data : self.user;
    const auto begin = static_cast<std::intptr_t>(call->begin);
    const auto end = static_cast<std::intptr_t>(call->end);
    if constexpr (std::is_void_v<Result>) {
        fn(begin, end, user);
        return LOOMY_OK;
    } else {
        const Result returned = fn(begin, end, user);
        return returned == 0 ? LOOMY_OK : status_of(call, returned);
    }
}

constexpr std::size_t most_steps =
    kernel_signature::most_parameters * (1 + kernel_signature::most_dimensions);

int run_loop(const loomy_call* call) {
    const bare_function& self = function_of(call);
    const loomy_launch& launch = *call->launch;
    std::array<char*, kernel_signature::most_parameters> pointers;
    std::array<std::intptr_t, most_steps> steps;
    std::array<std::intptr_t, most_steps> lengths;
    std::size_t step = launch.nargs;
    for (std::uint32_t i = 0; i < launch.nargs; ++i) {
        const loomy_buffer& one = launch.args[i];
        const bool moves = self.moves(i, one);
        pointers[i] = static_cast<char*>(one.data) + (moves ? call->begin * one.strides[0] : 0);
        steps[i] = static_cast<std::intptr_t>(moves ? one.strides[0] : 0);
        if (self.along_n.empty()) continue;
        for (std::int32_t d = moves ? 1 : 0; d < one.ndim; ++d)
            steps[step++] = static_cast<std::intptr_t>(one.strides[d]);
    }
    std::size_t count = 0;
    lengths[count++] = static_cast<std::intptr_t>(call->end - call->begin);
    for (const auto& [argument, axis] : self.core_dimensions)
        lengths[count++] = static_cast<std::intptr_t>(launch.args[argument].shape[axis]);
    using loop = void (*)(char**, const std::intptr_t*, const std::intptr_t*, void*);
    reinterpret_cast<loop>(self.address)(pointers.data(), lengths.data(), steps.data(), self.user);
    return LOOMY_OK;
}

#if UINTPTR_MAX == 0xffffffffffffffff
#define LOOMY_INTPTR "i8"
#else
#define LOOMY_INTPTR "i4"
#endif

constexpr loomy_dtype nothing{0, 0, 0};
constexpr loomy_dtype f8{LOOMY_FLOAT, 64, 1};
constexpr loomy_dtype f4{LOOMY_FLOAT, 32, 1};

constexpr bare_shape shapes[] = {
    {"v(" LOOMY_INTPTR "," LOOMY_INTPTR ",p)", "range", argument_rule::one_block, &run_range<void>, 0,
     nothing},
    {"i4(" LOOMY_INTPTR "," LOOMY_INTPTR ",p)", "range", argument_rule::one_block, &run_range<std::int32_t>,
     0, nothing},
    {"i8(" LOOMY_INTPTR "," LOOMY_INTPTR ",p)", "range", argument_rule::one_block, &run_range<std::int64_t>,
     0, nothing},
    {"v(p,p,p,p)", "loop", argument_rule::loop, &run_loop, 0, nothing},
    {"f8(f8)", "element", argument_rule::each_element, &run_each<double, double (*)(double)>, 1, f8},
    {"f8(f8,p)", "element", argument_rule::each_element, &run_each<double, double (*)(double, void*)>, 1, f8},
    {"f8(f8,f8)", "element", argument_rule::each_element, &run_each<double, double (*)(double, double)>, 2,
     f8},
    {"f8(f8,f8,p)", "element", argument_rule::each_element,
     &run_each<double, double (*)(double, double, void*)>, 2, f8},
    {"f8(i4,p)", "element", argument_rule::each_element, &run_each<double, double (*)(int, double*)>, 0, f8},
    {"f8(i4,p,p)", "element", argument_rule::each_element, &run_each<double, double (*)(int, double*, void*)>,
     0, f8},
    {"f4(f4)", "element", argument_rule::each_element, &run_each<float, float (*)(float)>, 1, f4},
    {"f4(f4,p)", "element", argument_rule::each_element, &run_each<float, float (*)(float, void*)>, 1, f4},
    {"f4(f4,f4)", "element", argument_rule::each_element, &run_each<float, float (*)(float, float)>, 2, f4},
    {"i4(p)", "native", argument_rule::as_declared, nullptr, 0, nothing},
};

} // namespace

const bare_shape* find_bare_shape(std::string_view abi) noexcept {
    for (const bare_shape& one : shapes) {
        if (abi == one.abi) return &one;
    }
    return nullptr;
}

PyObject* bare_shapes_for_python() {
    PyObject* const list = PyList_New(0);
    for (const bare_shape& one : shapes) {
        PyObject* const pair = list != nullptr ? Py_BuildValue("(ss)", one.abi, one.shape) : nullptr;
        if (pair == nullptr || PyList_Append(list, pair) < 0) {
            Py_XDECREF(pair);
            Py_XDECREF(list);
            return nullptr;
        }
        Py_DECREF(pair);
    }
    return list;
}

void describe_loop(const kernel_signature& signature, bare_function& into) {
    using kind = kernel_signature::dimension::kind;
    const auto space = signature.space();
    std::vector<std::uint32_t> known;
    for (std::uint32_t i = 0; i < signature.parameters.size(); ++i) {
        const auto& dimensions = signature.parameters[i].dimensions;
        const bool moves =
            !dimensions.empty() && dimensions[0].how == kind::named && space && dimensions[0].name == *space;
        into.along_n.push_back(moves);
        for (std::uint32_t d = moves ? 1 : 0; d < dimensions.size(); ++d) {
            if (dimensions[d].how == kind::named) {
                if (std::find(known.begin(), known.end(), dimensions[d].name) != known.end()) continue;
                known.push_back(dimensions[d].name);
            }
            into.core_dimensions.emplace_back(i, d);
        }
    }
}

} // namespace loomy::py
