#include "loomy/kernel/guarded_call.hpp"

#include <cstdlib>
#include <exception>
#include <memory>
#include <typeinfo>

namespace loomy {
namespace {

std::string readable(const char* name) {
#if defined(__GLIBCXX__)
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text(
        abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
    if (status == 0) return text.get();
#endif
    return name;
}

std::string describe_with_memory() {
    try {
        throw;
    } catch (const std::exception& error) {
        return "C++ exception of type " + readable(typeid(error).name()) + ": " + error.what();
    } catch (...) {
#if defined(__GLIBCXX__)
        if (const std::type_info* const type = abi::__cxa_current_exception_type()) {
            return "C++ exception of type " + readable(type->name());
        }
#endif
        return "C++ exception of an unknown type";
    }
}

} // namespace

std::string describe_current_exception() noexcept {
    try {
        return describe_with_memory();
    } catch (...) {
        return "C++ exception"; // short enough to need no memory
    }
}

} // namespace loomy
