#include "build_info.hpp"

#include "gil.hpp"
#include "loomy/base/cpu.hpp"

namespace loomy::py {
namespace {

constexpr const char* compiler =
#if defined(__clang__)
    "Clang " __clang_version__;
#elif defined(__GNUC__)
    "GCC " __VERSION__;
#elif defined(_MSC_VER)
    "MSVC";
#else
    "unknown";
#endif

constexpr const char* wait_primitive =
#if defined(LOOMY_PORTABLE_WAIT)
    "portable";
#elif defined(__linux__)
    "futex";
#elif defined(_WIN32)
    "WaitOnAddress";
#else
    "portable";
#endif

#if !defined(LOOMY_SANITIZER)
#define LOOMY_SANITIZER ""
#endif

PyObject* build_info(PyObject*, PyObject*) {
    return Py_BuildValue("{s:s,s:s,s:O,s:s}", "compiler", compiler, "wait", wait_primitive, "free_threaded",
                         gil::is_free_threaded ? Py_True : Py_False, "sanitizer", LOOMY_SANITIZER);
}

PyObject* usable_cpus_function(PyObject*, PyObject*) {
    return PyLong_FromLong(usable_cpus());
}

PyObject* set_checkpoint(PyObject*, PyObject* function) {
    gil::set_checkpoint_function(function);
    Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"build_info", build_info, METH_NOARGS,
     PyDoc_STR("build_info()\n--\n\nHow this module was built: compiler, wait, free_threaded, sanitizer.")},
    {"usable_cpus", usable_cpus_function, METH_NOARGS,
     PyDoc_STR("usable_cpus()\n--\n\nCPUs this process may use: its affinity mask and its cgroup quota, "
               "never less than "
               "1.")},
    {"_set_checkpoint", set_checkpoint, METH_O,
     PyDoc_STR("_set_checkpoint($module, function, /)\n--\n\nA Python function that does nothing; calling it "
               "lets the "
               "interpreter switch threads.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

int register_build_info(PyObject* module) {
    if (PyModule_AddStringConstant(module, "__version__", LOOMY_VERSION) < 0) return -1;
    return PyModule_AddFunctions(module, functions);
}

} // namespace loomy::py
