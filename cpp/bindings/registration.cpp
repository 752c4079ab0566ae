#include "registration.hpp"

#include <atomic>

namespace loomy::py {

int register_interpreter(PyObject*) {
    static std::atomic<std::int64_t> owner{-1};
    const std::int64_t mine = PyInterpreterState_GetID(PyInterpreterState_Get());
    std::int64_t nobody = -1;
    if (owner.compare_exchange_strong(nobody, mine, std::memory_order_relaxed) || nobody == mine) return 0;
    PyErr_Format(
        PyExc_ImportError,
        "loomy was imported by interpreter %lld of this process and works in one interpreter only; use it "
        "there, or in another process",
        static_cast<long long>(nobody));
    return -1;
}

} // namespace loomy::py
