#pragma once

namespace loomy {

// What kernels may want of an interpreter, if there is one; the bindings put it in at the start. Called on
// threads that run chunks.
struct interpreter_services {
    // Calls fn(context) on this thread, able to use the interpreter. False: it is going away; not called.
    bool (*call)(int (*fn)(void*), void* context, int& result) = nullptr;
    // Where the interpreter keeps the error of this thread: the address of a pointer that is null while there
    // is none. Good as long as the thread runs what it runs now, attached or not; null if the thread is none
    // of the interpreter's.
    const void* (*error_place)() = nullptr;
    // Takes the error that is set on this thread, as an object of the interpreter's; null if there is none.
    void* (*take_error)() = nullptr;
    // Lets go of one that nobody asked for. Any thread.
    void (*drop_error)(void*) = nullptr;
};

inline interpreter_services interpreter;

} // namespace loomy
