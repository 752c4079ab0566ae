#include "default_pool.hpp"

#include <Python.h>

#include <atomic>

#include "errors.hpp"
#include "gil.hpp"
#include "pool_object.hpp"
#include "process_exit.hpp"
#include "python_module.hpp"

namespace loomy::py {
namespace {

std::atomic<python_pool*> known{nullptr};

python_pool* ask_python() {
    PyObject* const get = borrowed_class("loomy._default_pool", "default_pool");
    PyObject* const object = get != nullptr ? PyObject_CallNoArgs(get) : nullptr;
    python_pool* const home = object != nullptr ? pool_of(object) : nullptr;
    if (home != nullptr && known.exchange(home, std::memory_order_acq_rel) != home) {
        home->retain(); // for ever: who was given the address may keep it
    }
    Py_XDECREF(object);
    return home;
}

} // namespace

python_pool* default_pool() {
    python_pool* const one = known.load(std::memory_order_acquire); // pairs with the exchange in ask_python
    if (one != nullptr && !one->core->closed()) return one;
    if (is_exiting()) return nullptr;
    const gil::attached scope;
    if (!scope) return nullptr;
    PyObject* const saved = errors::take_raised();
    python_pool* const home = ask_python();
    PyErr_Clear();
    errors::put_back(saved);
    return home;
}

} // namespace loomy::py
