#pragma once

// The one place that knows how a thread attaches to the interpreter (takes the GIL or, on a free-threaded
// build, enters the attached state) and detaches from it. See cpp/README.md, "Who may be attached when".

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <utility>

#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace loomy::py::gil {

#if defined(Py_GIL_DISABLED)
inline constexpr bool is_free_threaded = true;
#else
inline constexpr bool is_free_threaded = false;
#endif

// This thread's state while it is detached by us; null while it is attached, or was never attached.
inline thread_local PyThreadState* detached_state = nullptr;

// Threads that detached in order to wait for us. While there is one, the GIL is probably free.
inline std::atomic<std::uint32_t> waiting_threads{0};

[[nodiscard]] inline bool is_detached_here() noexcept {
    return detached_state != nullptr;
}

// Our workers that are attached. While there is one it is draining a queue, and will let go of the GIL soon.
inline std::atomic<std::uint32_t> draining_workers{0};

// Where a thread state has its Python error; null while there is none.
[[nodiscard]] inline PyObject* const& error_of(const PyThreadState& state) noexcept {
#if PY_VERSION_HEX >= 0x030C0000
    return state.current_exception;
#else
    return state.curexc_type;
#endif
}

// Whether something that ran on this thread while it was detached by us has left a Python error on its state.
// Only this thread writes there, so it may look without attaching.
[[nodiscard]] inline bool has_error_while_detached() noexcept {
    return error_of(*detached_state) != nullptr;
}

// Whether this thread may touch Python objects right now.
[[nodiscard]] inline bool is_attached_here() noexcept {
    return !is_detached_here() && PyGILState_Check() != 0;
}

// The place of this thread's error, for who looks there time and again, attached or not. A thread that was
// detached by somebody else has none that we know.
[[nodiscard]] inline PyObject* const* error_place_here() noexcept {
    if (is_detached_here()) return &error_of(*detached_state);
    return PyGILState_Check() != 0 ? &error_of(*PyThreadState_Get()) : nullptr;
}

// What extensions keep of this thread. Attached; borrowed; null if there is no memory.
[[nodiscard]] inline PyObject* thread_dict() noexcept {
    return PyThreadState_GetDict();
}

// What CPython keeps of this thread. Attached.
[[nodiscard]] inline PyThreadState* this_thread() noexcept {
    return PyThreadState_Get();
}

// The frame that this thread is executing; borrowed, null outside Python code.
[[nodiscard]] inline PyFrameObject* current_frame() {
    return PyEval_GetFrame();
}

// The contextvars context this thread is in; borrowed, null if there has been none yet.
[[nodiscard]] inline PyObject* current_context() noexcept {
    return this_thread()->context;
}

// Attached -> detached. Every detach is undone on the same thread.
inline void detach() {
    detached_state = PyEval_SaveThread();
}

// Detached by us -> attached. From finalisation on this does not return: up to CPython 3.13 the thread is
// unwound (so nothing above may be noexcept), from 3.14 it sleeps for ever.
inline void attach() {
    PyThreadState* const mine = detached_state;
    detached_state = nullptr;
    PyEval_RestoreThread(mine);
}

// The same for a worker that has a job to run. Whoever queued it may be about to detach and wait; queueing
// for the GIL before that costs a sleep each way, so first gives that a few microseconds to happen.
// Returns how long that took, in nanoseconds, or 0 if it was soon.
std::int64_t attach_for_work();

// A wait for the GIL this long was ended by force: what holds it never lets go by itself.
inline constexpr std::int64_t forced_wait_ns = 3'000'000;
// What attach_for_work took, given back; nothing if it was given back already.
void detach_after_work();

// The same for a thread whose wait is over: the worker that woke it may still be draining.
void attach_after_wait();

inline void ensure_detached() {
    if (!is_detached_here()) detach();
}
inline void ensure_attached() {
    if (is_detached_here()) attach();
}

// Lets other threads have a turn, if one asks for it; costs some ten nanoseconds if none does. C functions
// never look at the request by themselves. Returns false with an error set if a signal handler raised. Runs a
// Python function that does nothing: entering the eval loop is where CPython looks. Detaching and attaching
// again would not do: it wakes the waiting thread, which finds the GIL taken again and starts its patience
// anew.
[[nodiscard]] bool checkpoint();
void set_checkpoint_function(PyObject* function); // takes a new reference

// How long a draining worker may go on without a checkpoint.
inline constexpr std::int64_t checkpoint_interval_ns = 1'000'000;

// Detached in this scope, on a thread that was attached: for waiting. The other side may rely on the GIL
// being free as soon as it sees what this thread publishes from here.
class detached {
  public:
    detached() {
        waiting_threads.fetch_add(1, std::memory_order_relaxed);
        detach();
    }
    ~detached() noexcept(false) {
        waiting_threads.fetch_sub(1, std::memory_order_relaxed);
        attach_after_wait();
    }
    detached(const detached&) = delete;
    detached& operator=(const detached&) = delete;
};

// ThreadSanitizer does not see the locks of an interpreter that was built without it.
inline void tell_sanitizer_locked([[maybe_unused]] void* lock) noexcept {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(lock);
#endif
}
inline void tell_sanitizer_unlocking([[maybe_unused]] void* lock) noexcept {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(lock);
#endif
}

// Calls `call` as it would run with the GIL: as long as it runs no Python and does not detach, no other
// thread is in such a call for the same object. On a free-threaded build that takes the lock that CPython
// keeps in every object; a thread that waits for it is detached. Not a guard, whose destructor would let go
// of the lock on a thread that the interpreter unwinds and that has no state any more.
template <class Call>
auto exclusively(PyObject* object, Call&& call) {
#if defined(Py_GIL_DISABLED)
    PyCriticalSection section;
    PyCriticalSection_Begin(&section, object);
    tell_sanitizer_locked(object);
    const auto answer = call();
    tell_sanitizer_unlocking(object);
    PyCriticalSection_End(&section);
    return answer;
#else
    (void)object;
    return call();
#endif
}

// Lets the collector see an object, unless it does. Any attached thread.
inline void track(PyObject* object) {
    if (PyObject_GC_IsTracked(object) != 0) return;
    (void)exclusively(object, [object] { // tracking twice is fatal
        const bool is_first = PyObject_GC_IsTracked(object) == 0;
        if (is_first) PyObject_GC_Track(object);
        return is_first;
    });
}

// CPython 3.12 counts C calls against a limit of 1,500 that no setting raises, two for each job that waits
// for a job of its own pool, and so ends a nesting of 750 that has used little of the stack. In this scope of
// one nested job those two do not count, down to a depth that 8 MiB of stack can hold for sure.
class nested_call {
  public:
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030D0000
    nested_call() noexcept : state_(depth_ < 2'000 ? PyThreadState_Get() : nullptr) {
        ++depth_;
        if (state_ != nullptr) state_->c_recursion_remaining += 2;
    }
    ~nested_call() {
        --depth_;
        if (state_ != nullptr) state_->c_recursion_remaining -= 2;
    }
    nested_call(const nested_call&) = delete;
    nested_call& operator=(const nested_call&) = delete;

  private:
    inline static thread_local int depth_ = 0;
    PyThreadState* const state_;
#else
    nested_call() noexcept {}
    ~nested_call() {}
#endif
};

// The exceptions that this thread is in the middle of handling (sys.exc_info()), hidden from what it calls in
// between. CPython keeps a chain of them, with a link for each generator and coroutine that the thread is
// inside of; ours is one that ends the chain. Attached. Not a guard: a thread that is unwound at exit has no
// state to restore them on.
class handled_exceptions {
  public:
    [[nodiscard]] static bool any() noexcept {
        for (const _PyErr_StackItem* one = this_thread()->exc_info; one != nullptr; one = one->previous_item)
            if (one->exc_value != nullptr && one->exc_value != Py_None) return true;
        return false;
    }
    void hide() noexcept {
        nothing_ = {};
        hidden_ = std::exchange(this_thread()->exc_info, &nothing_);
    }
    // In the same frame that hid them.
    void restore() noexcept {
        this_thread()->exc_info = hidden_;
        Py_CLEAR(nothing_.exc_value); // after an except clause it may be None
    }

  private:
    _PyErr_StackItem nothing_; // as the next, only while they are hidden
    _PyErr_StackItem* hidden_;
};

// Attached in this scope, whatever thread this is and whether or not it was. Not to be used once the
// interpreter is going away (see attach).
class attached {
  public:
    attached();
    ~attached() noexcept(false);
    attached(const attached&) = delete;
    attached& operator=(const attached&) = delete;
    // False: the interpreter is going away, and this thread may not touch it.
    explicit operator bool() const noexcept { return how_ != how::refused; }

  private:
    enum class how : std::uint8_t { already, ours, foreign, refused };
    how how_;
    PyGILState_STATE foreign_state_{};
};

// Waits, detached, by calling `wait(until)` (a wait_status) until it says `woken` or `timed_out`; signal
// handlers run in between, and on the main thread at least five times a second, in case a signal came just
// before the wait. 1: woken, 0: timed out, -1: a handler raised, the error is set.
template <class Deadline, class Wait>
int wait_detached(Deadline until, Wait&& wait);

} // namespace loomy::py::gil

namespace loomy::py::gil {

// In the child of a fork: other threads' counts are gone with them.
void reset_after_fork() noexcept;

} // namespace loomy::py::gil

namespace loomy::py {
using gil::attached;
using gil::detached;
} // namespace loomy::py

#include "gil_wait.hpp"
