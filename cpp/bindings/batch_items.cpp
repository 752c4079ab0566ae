#include "batch_items.hpp"

#include "gil.hpp"
#include "loomy/base/clock.hpp"

namespace loomy::py {
namespace {

// Between two looks at the clock; a payload takes a few nanoseconds to copy, some hundred to make.
constexpr std::size_t items_per_look = 1'024;

constexpr Py_ssize_t items_at_one_go = 500'000;

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
    if (list_ == nullptr) return;
    make_whole(); // a list may be taken apart only whole
    Py_DECREF(list_);
}

void batch_items::make_whole() noexcept {
    for (std::uint64_t i = 0; i < size(); ++i) {
        PyObject*& there = place(i);
        there = plain(there);
        if (there == nullptr) there = Py_NewRef(Py_None);
    }
}

batch_items::left batch_items::close_place(std::uint64_t index) noexcept {
    PyObject* const closed = marked(nullptr);
    PyObject* there = nullptr;
    if constexpr (gil::is_free_threaded) {
        there = std::atomic_ref<PyObject*>(place(index)).exchange(closed, std::memory_order_acq_rel);
    } else {
        there = std::exchange(place(index), closed);
    }
    return is_result(there) ? left{nullptr, plain(there)} : left{there, nullptr};
}

// A nanosecond or two an item, so a short list is copied at one go.
bool batch_items::copy(PyObject* list) {
    const Py_ssize_t size = PyList_GET_SIZE(list);
    list_ = PyList_GetSlice(list, 0, size < items_at_one_go ? size : items_at_one_go);
    if (list_ == nullptr) return false;
    PyObject_GC_UnTrack(list_);
    turn_taker turns;
    // Others may change the list whenever they have their turn: what is there then is what is copied.
    for (Py_ssize_t i = items_at_one_go; i < PyList_GET_SIZE(list); ++i) {
        PyObject* const item = PySequence_GetItem(list, i);
        if (item == nullptr) { // without the GIL it may have become shorter just now
            PyErr_Clear();
            break;
        }
        const bool well = PyList_Append(list_, item) == 0 && turns.next(static_cast<std::size_t>(i));
        Py_DECREF(item);
        if (!well) return false;
    }
    return true;
}

bool batch_items::fill(PyObject* iterable) {
    if (PyList_CheckExact(iterable)) return copy(iterable);
    PyObject* const iterator = PyObject_GetIter(iterable);
    list_ = iterator != nullptr ? PyList_New(0) : nullptr;
    if (list_ == nullptr) {
        Py_XDECREF(iterator);
        return false;
    }
    PyObject_GC_UnTrack(list_);
    turn_taker turns;
    bool whole = true;
    for (std::size_t count = 1; whole; ++count) {
        PyObject* const item = PyIter_Next(iterator);
        if (item == nullptr) break;
        whole = PyList_Append(list_, item) == 0 && turns.next(count);
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    return whole && PyErr_Occurred() == nullptr;
}

int batch_items::traverse(visitproc visit, void* arg) const {
    for (Py_ssize_t i = 0; list_ != nullptr && i < PyList_GET_SIZE(list_); ++i)
        Py_VISIT(plain(PyList_GET_ITEM(list_, i)));
    return 0;
}

PyObject* batch_items::release() {
    make_whole();
    PyObject_GC_Track(list_);
    return std::exchange(list_, nullptr);
}

} // namespace loomy::py
