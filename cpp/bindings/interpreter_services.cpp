#include "interpreter_services.hpp"

#include <Python.h>

#include <new>

#include "deferred.hpp"
#include "errors.hpp"
#include "gil.hpp"
#include "loomy/kernel/interpreter.hpp"

namespace loomy::py {
namespace {

bool call(int (*fn)(void*), void* context, int& result) {
    const gil::attached scope;
    if (!scope) return false;
    result = fn(context);
    return true;
}

const void* error_place() {
    return gil::error_place_here();
}

void* take_error() {
    const gil::attached scope;
    return scope ? errors::take_raised() : nullptr;
}

struct unwanted_object final : deferred::node {
    explicit unwanted_object(PyObject* which) noexcept : object(which) {}
    void destroy() override {
        Py_DECREF(object);
        delete this;
    }
    PyObject* const object;
};

void drop_error(void* error) {
    auto* const object = static_cast<PyObject*>(error);
    if (gil::is_attached_here()) {
        Py_DECREF(object);
    } else if (auto* const node = new (std::nothrow) unwanted_object(object)) {
        deferred::push(*node);
    } // else it stays: without memory there is nowhere to remember it
}

} // namespace

void provide_interpreter_services() noexcept {
    interpreter = {&call, &error_place, &take_error, &drop_error};
}

} // namespace loomy::py
