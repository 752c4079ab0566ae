#include "batch_items.hpp"

#include <new>

#include "gil.hpp"
#include "loomy/base/clock.hpp"

namespace loomy::py {
namespace {

// Between two looks at the clock; a payload takes a few nanoseconds to copy, some hundred to make.
constexpr std::size_t items_per_look = 1'024;

// Keeps a long copy from holding the GIL all the time.
class turn_taker {
  public:
    // False with an error set: a signal handler raised.
    [[nodiscard]] bool next(std::size_t index) {
        if ((index & (items_per_look - 1)) != 0) return true;
        const std::int64_t now = now_ns();
        if (since_ == 0) since_ = now;
        if (now - since_ < gil::checkpoint_interval_ns) return true;
        since_ = now;
        return gil::checkpoint();
    }

  private:
    std::int64_t since_ = 0;
};

} // namespace

batch_items::~batch_items() {
    for (PyObject* one : items_) Py_XDECREF(one);
}

bool batch_items::fill(PyObject* iterable) {
    turn_taker turns;
    try {
        if (PyTuple_CheckExact(iterable)) {
            const Py_ssize_t count = PyTuple_GET_SIZE(iterable);
            items_.reserve(static_cast<std::size_t>(count));
            for (Py_ssize_t i = 0; i < count; ++i) {
                if (!turns.next(items_.size())) return false;
                items_.push_back(Py_NewRef(PyTuple_GET_ITEM(iterable, i)));
            }
            return true;
        }
        if (PyList_CheckExact(iterable) && !gil::is_free_threaded) {
            items_.reserve(static_cast<std::size_t>(PyList_GET_SIZE(iterable)));
            for (Py_ssize_t i = 0; i < PyList_GET_SIZE(iterable);
                 ++i) { // which may change whenever others run
                items_.push_back(Py_NewRef(PyList_GET_ITEM(iterable, i)));
                if (!turns.next(items_.size())) return false;
            }
            return true;
        }
        const Py_ssize_t hint = PyObject_LengthHint(iterable, 0);
        if (hint < 0) return false;
        items_.reserve(static_cast<std::size_t>(hint));
        PyObject* const iterator = PyObject_GetIter(iterable);
        if (iterator == nullptr) return false;
        bool whole = true;
        while (PyObject* const item = PyIter_Next(iterator)) {
            items_.push_back(item);
            whole = turns.next(items_.size());
            if (!whole) break;
        }
        Py_DECREF(iterator);
        return whole && PyErr_Occurred() == nullptr;
    } catch (const std::exception&) { // bad_alloc, or length_error of a hint that is a lie
        PyErr_NoMemory();
        return false;
    }
}

} // namespace loomy::py
