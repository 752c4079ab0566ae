#include "python_module.hpp"

#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace loomy::py {

PyObject* borrowed_class(const char* module, const char* name) {
    // By address: callers pass literals.
    static std::map<std::pair<const char*, const char*>, PyObject*> known;
    static std::mutex lock;
    {
        const std::lock_guard guard(lock);
        const auto found = known.find({module, name});
        if (found != known.end()) return found->second;
    }
    PyObject* const imported = PyImport_ImportModule(module);
    if (imported == nullptr) return nullptr;
    PyObject* const object = PyObject_GetAttrString(imported, name);
    Py_DECREF(imported);
    if (object == nullptr) return nullptr;
    const std::lock_guard guard(lock);
    const auto [at, added] = known.insert({{module, name}, object});
    if (!added) Py_DECREF(object);
    return at->second;
}

} // namespace loomy::py
