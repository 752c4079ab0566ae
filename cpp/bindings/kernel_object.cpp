#include "kernel_object.hpp"

#include <structmember.h> // after Python.h

#include <cstddef>
#include <new>
#include <utility>

#include "kernel_launch.hpp"
#include "loomy/exec/launch.hpp"

namespace loomy::py {
namespace {

kernel_object& of(PyObject* self) noexcept {
    return *reinterpret_cast<kernel_object*>(self);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(of(self).source);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(of(self).source);
    return 0;
}

void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    kernel_object& kernel = of(self);
    if (kernel.weak_references != nullptr) PyObject_ClearWeakRefs(self);
    delete kernel.facts;
    Py_XDECREF(kernel.source);
    Py_XDECREF(kernel.name);
    Py_XDECREF(kernel.signature);
    Py_XDECREF(kernel.doc);
    Py_XDECREF(kernel.shape);
    PyObject_GC_Del(self);
}

PyObject* represent(PyObject* self) {
    const kernel_object& kernel = of(self);
    if (kernel.signature != Py_None)
        return PyUnicode_FromFormat("<loomy.Kernel '%U': %U>", kernel.name, kernel.signature);
    return PyUnicode_FromFormat("<loomy.Kernel '%U', %U, arguments unchecked>", kernel.name, kernel.shape);
}

PyObject* get_grain(PyObject* self, void*) {
    const kernel_facts& facts = *of(self).facts;
    return PyLong_FromLongLong(facts.grain != 0 ? facts.grain : facts.kernel->grain);
}

PyMemberDef members[] = {
    {"name", T_OBJECT, offsetof(kernel_object, name), READONLY, PyDoc_STR("str: what errors call it.")},
    {"__name__", T_OBJECT, offsetof(kernel_object, name), READONLY, nullptr},
    {"__doc__", T_OBJECT, offsetof(kernel_object, doc), READONLY, nullptr},
    {"signature", T_OBJECT, offsetof(kernel_object, signature), READONLY,
     PyDoc_STR("str or None: what its arguments are checked against, as in loomy/kernel.h.")},
    {"shape", T_OBJECT, offsetof(kernel_object, shape), READONLY,
     PyDoc_STR("str: what kind of function it is: 'native', 'range', 'loop' or 'element'.")},
    {"_source", T_OBJECT, offsetof(kernel_object, source), READONLY,
     PyDoc_STR("What it was made of, and keeps alive.")},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef properties[] = {{"grain", get_grain, nullptr,
                             PyDoc_STR("int: fewest items in a chunk; 0 leaves it to the pool."), nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyDoc_STRVAR(
    doc,
    "A native function that a pool runs over an iteration range, in chunks, without the GIL; made by "
    "loomy.kernel().\n\n"
    "Called as k(*args, n=None, chunks=None, grain=None) it runs on the default pool, and on the "
    "calling thread where that\nhelps, and returns None when all of it has ended. Ctrl-C stops it.");

// Making one.

bool read_signature(PyObject* text, kernel_facts& facts) {
    if (text == Py_None) return true;
    Py_ssize_t length = 0;
    const char* const chars = PyUnicode_AsUTF8AndSize(text, &length);
    if (chars == nullptr) return false;
    std::string fault;
    facts.signature = kernel_signature::parse({chars, static_cast<std::size_t>(length)}, fault);
    if (facts.signature) return true;
    PyErr_Format(PyExc_ValueError, "kernel '%s': %s", facts.name.c_str(), fault.c_str());
    return false;
}

bool describe_bare(const bare_shape& shape, std::uintptr_t address, kernel_facts& facts) {
    facts.rule = shape.rule;
    facts.made = {LOOMY_KERNEL_HEADER,
                  facts.name.c_str(),
                  nullptr,
                  nullptr,
                  shape.run,
                  nullptr,
                  nullptr,
                  nullptr,
                  0,
                  0};
    facts.kernel = &facts.made;
    if (shape.run == nullptr) {
        facts.made.run = reinterpret_cast<loomy_run_fn>(address);
        return true;
    }
    facts.bare.address = reinterpret_cast<void (*)()>(address);
    facts.bare.user = std::exchange(facts.user_data, &facts.bare);
    facts.bare.inputs = shape.inputs;
    facts.bare.element = shape.element;
    if (!facts.signature) return true;
    if (shape.rule == argument_rule::each_element) {
        PyErr_Format(
            PyExc_ValueError,
            "kernel '%s': a function of single elements has its types already; leave the arguments out "
            "of signature",
            facts.name.c_str());
        return false;
    }
    if (shape.rule == argument_rule::one_block && facts.signature->parameters.size() > 1) {
        PyErr_Format(
            PyExc_ValueError,
            "kernel '%s': a range function gets one argument at most, whose address is its user data",
            facts.name.c_str());
        return false;
    }
    if (shape.rule == argument_rule::loop) describe_loop(*facts.signature, facts.bare);
    return true;
}

bool describe_native(std::uintptr_t address, kernel_facts& facts) {
    facts.kernel = reinterpret_cast<const loomy_kernel*>(address);
    const char* const fault = kernel_fault(facts.kernel);
    if (fault == nullptr) return true;
    PyErr_Format(PyExc_ValueError, "kernel '%s' cannot be used: %s", facts.name.c_str(), fault);
    return false;
}

kernel_object* make(PyObject* abi, std::uintptr_t address, PyObject* name, PyObject* signature,
                    long long grain, std::uintptr_t user_data, PyObject* about, PyObject* source) {
    const char* const abi_text = PyUnicode_AsUTF8(abi);
    const char* const name_text = PyUnicode_AsUTF8(name);
    if (abi_text == nullptr || name_text == nullptr) return nullptr;
    const bare_shape* const shape = *abi_text != '\0' ? find_bare_shape(abi_text) : nullptr;
    if (shape == nullptr && *abi_text != '\0') {
        PyErr_Format(PyExc_TypeError, "no kernel has a function of the ABI %R", abi);
        return nullptr;
    }
    auto facts = std::make_unique<kernel_facts>();
    facts->name = name_text;
    facts->grain = grain;
    facts->user_data = reinterpret_cast<void*>(user_data);
    if (!read_signature(signature, *facts) ||
        !(shape != nullptr ? describe_bare(*shape, address, *facts) : describe_native(address, *facts))) {
        return nullptr;
    }
    PyObject* const word = PyUnicode_FromString(shape != nullptr ? shape->shape : "native");
    auto* const self = word != nullptr ? PyObject_GC_New(kernel_object, &kernel_type) : nullptr;
    if (self == nullptr) {
        Py_XDECREF(word);
        return nullptr;
    }
    self->call = &call_kernel;
    self->weak_references = nullptr;
    self->source = Py_NewRef(source);
    self->name = Py_NewRef(name);
    self->signature = Py_NewRef(signature);
    self->doc = Py_NewRef(about);
    self->shape = word;
    self->facts = facts.release();
    PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
    return self;
}

PyObject* make_kernel(PyObject*, PyObject* args) {
    PyObject *abi = nullptr, *name = nullptr, *signature = nullptr, *about = nullptr, *source = nullptr;
    unsigned long long address = 0, user_data = 0;
    long long grain = 0;
    if (!PyArg_ParseTuple(args, "UKUOLKOO:_make_kernel", &abi, &address, &name, &signature, &grain,
                          &user_data, &about, &source)) {
        return nullptr;
    }
    try {
        return reinterpret_cast<PyObject*>(make(abi, static_cast<std::uintptr_t>(address), name, signature,
                                                grain, static_cast<std::uintptr_t>(user_data), about,
                                                source));
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
}

// (name, address, context) of any capsule.
PyObject* read_capsule(PyObject*, PyObject* capsule) {
    if (!PyCapsule_CheckExact(capsule)) {
        PyErr_Format(PyExc_TypeError, "expected a capsule, not %.100s", Py_TYPE(capsule)->tp_name);
        return nullptr;
    }
    const char* const name = PyCapsule_GetName(capsule);
    void* const address = PyCapsule_GetPointer(capsule, name);
    if (address == nullptr) return nullptr;
    void* const context = PyCapsule_GetContext(capsule);
    if (context == nullptr && PyErr_Occurred() != nullptr) return nullptr;
    return Py_BuildValue("(zKK)", name,
                         static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(address)),
                         static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(context)));
}

// (name, signature, doc) of a loomy_kernel at an address.
PyObject* read_kernel(PyObject*, PyObject* number) {
    auto* const address = static_cast<const loomy_kernel*>(PyLong_AsVoidPtr(number));
    if (address == nullptr && PyErr_Occurred() != nullptr) return nullptr;
    if (const char* const fault = kernel_fault(address))
        return PyErr_Format(PyExc_ValueError, "this is no kernel that can be used: %s", fault);
    return Py_BuildValue("(zzz)", address->name, address->signature, address->doc);
}

PyObject* kernel_shapes(PyObject*, PyObject*) {
    return bare_shapes_for_python();
}

PyMethodDef functions[] = {
    {"_make_kernel", make_kernel, METH_VARARGS,
     PyDoc_STR(
         "_make_kernel($module, abi, address, name, signature, grain, user_data, doc, source, /)\n--\n\n"
         "A Kernel of a function of that ABI, or, without one, of a loomy_kernel.")},
    {"_read_capsule", read_capsule, METH_O,
     PyDoc_STR("_read_capsule($module, capsule, /)\n--\n\nIts name, address and context.")},
    {"_read_kernel", read_kernel, METH_O,
     PyDoc_STR("_read_kernel($module, address, /)\n--\n\nName, signature and doc of a loomy_kernel.")},
    {"_kernel_shapes", kernel_shapes, METH_NOARGS,
     PyDoc_STR(
         "_kernel_shapes($module)\n--\n\nThe ABIs that a bare function may have, each with its shape.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

PyTypeObject kernel_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

kernel_object* as_kernel(PyObject* object) {
    if (Py_IS_TYPE(object, &kernel_type)) return &of(object);
    PyErr_Format(PyExc_TypeError,
                 "launch() takes a kernel first, not %.100s; make one with loomy.kernel(...)",
                 Py_TYPE(object)->tp_name);
    return nullptr;
}

int register_kernel(PyObject* module) {
    PyTypeObject& type = kernel_type;
    type.tp_name = "loomy.Kernel";
    type.tp_doc = doc;
    type.tp_basicsize = sizeof(kernel_object);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                    Py_TPFLAGS_DISALLOW_INSTANTIATION;
    type.tp_vectorcall_offset = offsetof(kernel_object, call);
    type.tp_call = PyVectorcall_Call;
    type.tp_dealloc = dealloc;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_members = members;
    type.tp_getset = properties;
    type.tp_weaklistoffset = offsetof(kernel_object, weak_references);
    if (PyType_Ready(&type) < 0 || PyModule_AddFunctions(module, functions) < 0) return -1;
    return PyModule_AddObjectRef(module, "Kernel", reinterpret_cast<PyObject*>(&type));
}

} // namespace loomy::py
