#include "context_snapshot.hpp"

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "gil.hpp"

namespace loomy::py {
namespace {

std::ptrdiff_t map_offset = -1; // of the map inside a Context object; negative: unknown

PyObject* map_of(PyObject* context) noexcept {
    PyObject* map = nullptr;
    std::memcpy(&map, reinterpret_cast<const char*>(context) + map_offset, sizeof map);
    return map;
}

// A Context with these values, as PyContext_Copy makes one of another Context. Null with an error set.
PyObject* context_with(PyObject* map) {
    PyObject* const made = PyContext_New();
    if (made == nullptr) return nullptr;
    PyObject* const empty = map_of(made);
    std::memcpy(reinterpret_cast<char*>(made) + map_offset, &map, sizeof map);
    Py_INCREF(map);
    Py_DECREF(empty);
    return made;
}

bool is_map(PyObject* object) noexcept {
    return std::strcmp(Py_TYPE(object)->tp_name, "hamt") == 0;
}

} // namespace

// Only this thread changes the context that it is in, so the map can be read without a lock.
context_snapshot context_snapshot::take() {
    PyObject* const current = map_offset >= 0 ? gil::current_context() : nullptr;
    if (current != nullptr) return context_snapshot(Py_NewRef(map_of(current)));
    PyObject* const copy = PyContext_CopyCurrent(); // and from now on there is a current one
    if (copy == nullptr || map_offset < 0) return context_snapshot(copy);
    context_snapshot taken(Py_NewRef(map_of(copy)));
    Py_DECREF(copy);
    return taken;
}

// Making and dropping a head may run Python, and that other jobs on this thread: nothing here is half done
// then.
bool lent_context::enter(const context_snapshot& from) {
    const bool fits = !entered_ && head_ != nullptr && map_offset >= 0 && map_of(head_) == from.held_;
    PyObject* const head = fits              ? std::exchange(head_, nullptr)
                           : map_offset >= 0 ? context_with(from.held_)
                                             : Py_NewRef(from.held_); // nobody else has it
    if (head == nullptr) return false;
    if (PyContext_Enter(head) != 0) {
        if (fits) give_back_kept();
        Py_DECREF(head);
        return false;
    }
    if (entered_) { // a nested job: the outer one's context stays as it is, below
        auto* const below = new (std::nothrow) lent_context(*this);
        if (below == nullptr) {
            (void)PyContext_Exit(head);
            Py_DECREF(head);
            PyErr_NoMemory();
            return false;
        }
        outer_ = below;
        head_ = nullptr;
        kept_ = 0; // they are below, for that map
    }
    if (!fits) give_back_kept();
    PyObject* const idle = std::exchange(head_, head);
    map_ = from.held_;
    entered_ = true;
    Py_XDECREF(idle);
    return true;
}

void lent_context::leave() {
    if (PyContext_Exit(head_) != 0) PyErr_Clear();
    // For the next job only if this one has neither changed nor kept it: what it has set is gone with it.
    const bool keep = outer_ == nullptr && map_offset >= 0 && Py_REFCNT(head_) == 1 && map_of(head_) == map_;
    if (!keep) give_back_kept(); // the job that has just ended has a reference yet
    PyObject* const dropped = keep ? nullptr : std::exchange(head_, nullptr);
    entered_ = false;
    if (outer_ != nullptr) {
        lent_context* const below = outer_;
        *this = *below;
        delete below;
    }
    Py_XDECREF(dropped);
}

void lent_context::take_back(context_snapshot& entered) {
    if constexpr (gil::is_free_threaded) {
        if (!entered_ && head_ != nullptr && map_offset >= 0 && entered.held_ == map_) {
            entered.held_ = nullptr;
            if (++kept_ == most_kept) give_back_kept();
            return;
        }
    }
    entered = context_snapshot();
}

int register_context_layout(PyObject*) {
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
        PyObject* const made = right ? context_with(map_of(copy)) : nullptr;
        right = made != nullptr && PyContext_Enter(made) == 0;
        if (right) {
            PyObject* value = nullptr;
            right = PyContextVar_Get(variable, nullptr, &value) == 0 && value == Py_None;
            Py_XDECREF(value);
            (void)PyContext_Exit(made);
        }
        Py_XDECREF(made);
        Py_XDECREF(copy);
        if (!right) map_offset = -1;
    }
    Py_DECREF(variable);
    Py_DECREF(plain);
    return PyErr_Occurred() != nullptr ? -1 : 0;
}

} // namespace loomy::py
