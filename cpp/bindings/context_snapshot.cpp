#include "context_snapshot.hpp"

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "gil.hpp"

namespace loomy::py {
namespace {

std::ptrdiff_t map_offset = -1;         // of the map inside a Context object; negative: unknown
context_snapshot* last_taken = nullptr; // borrowed; forgets itself when it dies

PyObject* map_of(PyObject* context) noexcept {
    PyObject* map = nullptr;
    std::memcpy(&map, reinterpret_cast<const char*>(context) + map_offset, sizeof map);
    return map;
}

bool is_map(PyObject* object) noexcept {
    return std::strcmp(Py_TYPE(object)->tp_name, "hamt") == 0;
}

} // namespace

context_snapshot* context_snapshot::take() {
    if (map_offset >= 0) {
        PyObject* const current = gil::current_context();
        if (last_taken != nullptr && current != nullptr && map_of(current) == map_of(last_taken->copy_)) {
            ++last_taken->count_;
            return last_taken;
        }
    }
    PyObject* const copy = PyContext_CopyCurrent();
    if (copy == nullptr) return nullptr;
    auto* const made = new (std::nothrow) context_snapshot(copy);
    if (made == nullptr) {
        Py_DECREF(copy);
        PyErr_NoMemory();
        return nullptr;
    }
    if (map_offset >= 0) last_taken = made;
    return made;
}

void context_snapshot::release() {
    if (--count_ != 0) return;
    if (last_taken == this) last_taken = nullptr;
    PyObject* const copy = copy_;
    delete this;
    Py_DECREF(copy);
}

bool lent_context::enter(context_snapshot& from) {
    if (entered_) {
        // A nested job: the outer one's context stays as it is, below.
        auto* const below = new (std::nothrow) lent_context(*this);
        if (below == nullptr) {
            PyErr_NoMemory();
            return false;
        }
        outer_ = below;
        head_ = source_ = nullptr;
        entered_ = false;
    }
    if (map_offset < 0) {
        drop();
        head_ = Py_NewRef(from.copy_); // nobody else has it
    } else if (head_ == nullptr || source_ != from.copy_) {
        drop();
        head_ = PyContext_Copy(from.copy_);
        source_ = Py_NewRef(from.copy_);
    }
    entered_ = head_ != nullptr && PyContext_Enter(head_) == 0;
    if (entered_) return true;
    drop();
    if (outer_ != nullptr) {
        lent_context* const below = std::exchange(outer_, nullptr);
        *this = *below;
        delete below;
    }
    return false;
}

void lent_context::leave() {
    if (PyContext_Exit(head_) != 0) PyErr_Clear();
    entered_ = false;
    // For the next job only if this one has neither changed nor kept it.
    if (map_offset < 0 || Py_REFCNT(head_) != 1 || map_of(head_) != map_of(source_)) drop();
    if (outer_ != nullptr) {
        drop();
        lent_context* const below = std::exchange(outer_, nullptr);
        *this = *below;
        delete below;
    }
}

void lent_context::drop() {
    Py_CLEAR(head_);
    Py_CLEAR(source_);
}

int register_context_layout(PyObject*) {
    if constexpr (gil::is_free_threaded) return 0; // a shared cache would have to be locked
    PyObject* const plain = PyContext_New();
    PyObject* const variable = plain != nullptr ? PyContextVar_New("loomy_layout", nullptr) : nullptr;
    if (variable == nullptr) return -1;
    // Known for the versions this was read for, and checked all the same: head, previous context, map. Not
    // searched for: between the members there is padding, which may hold anything.
    std::ptrdiff_t found = -1;
    if constexpr (PY_VERSION_HEX < 0x030F0000) found = sizeof(PyObject) + sizeof(void*);
    if (found >= 0) {
        map_offset = found;
        if (map_of(plain) == nullptr || !is_map(map_of(plain))) map_offset = found = -1;
    }
    // It is the map only if a copy shares it and a change replaces it.
    if (found >= 0) {
        map_offset = found;
        PyObject* const copy = PyContext_Copy(plain);
        bool right = copy != nullptr && map_of(copy) == map_of(plain);
        if (right && PyContext_Enter(copy) == 0) {
            PyObject* const token = PyContextVar_Set(variable, Py_None);
            right = token != nullptr && map_of(copy) != map_of(plain) && is_map(map_of(copy));
            Py_XDECREF(token);
            (void)PyContext_Exit(copy);
        }
        Py_XDECREF(copy);
        if (!right) map_offset = -1;
    }
    Py_DECREF(variable);
    Py_DECREF(plain);
    return PyErr_Occurred() != nullptr ? -1 : 0;
}

} // namespace loomy::py
