#pragma once

#include <Python.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "context_snapshot.hpp"
#include "loomy/sync/completion.hpp"

namespace loomy::py {

struct event_loop;

// A callable that is to be called in an event loop, with one argument, once a job has ended. Owns all it
// points at. It is listed first with the job, then with the event loop.
struct loop_call : listener {
    // `context` may be null: a copy of the current one. Null with an error set.
    [[nodiscard]] static loop_call* make(event_loop* to, PyObject* callback, PyObject* argument,
                                         PyObject* context);
    ~loop_call();

    static void job_ended(listener& node);

    void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return PyMem_Malloc(size); }
    void operator delete(void* place) noexcept { PyMem_Free(place); }
    void operator delete(void* place, const std::nothrow_t&) noexcept { PyMem_Free(place); }

    event_loop* to;
    PyObject* callback;
    PyObject* argument;
    PyObject* context;         // to be called in; null if it is `snapshot`
    context_snapshot snapshot; // to be called in a copy of
    bool is_inside_job;        // made where the loop runs inside a job
};

// What loomy knows of an asyncio event loop; a Python object that the loop keeps as an attribute, and which
// keeps only a weak reference to the loop.
//
// Jobs that end together cost one wake-up of the loop: calls are pushed onto a stack, and only who finds it
// empty wakes the loop, which takes the whole stack. So whoever finds it not empty knows that its call is
// going to be taken.
//
// A call may run the loop itself, inside its own step (nest_asyncio, a dialogue of Qt), until something has
// happened that one of the calls after it does. So what was taken lies here, where the loop inside finds it;
// and as it was taken already, nobody else would wake that loop: before the first of several the loop is
// woken again.
struct event_loop {
    PyObject_HEAD PyObject* loop;   // a weak reference
    PyObject* ready;                // the loop's own queue of callbacks, or null if it keeps that hidden
    std::atomic<listener*> arrived; // newest first: calls, and perhaps `wakes_itself`
    std::atomic<bool> wake_failed;  // the stack is not empty, and yet nobody is coming for it
    listener wakes_itself;          // at the bottom of the stack when the loop is to be woken by itself
    std::atomic<loop_call*> taken;  // oldest first; the loop's thread only, until no thread runs the loop
    std::atomic<int> waits_inside;  // how many calls it waits for that were made inside a job
    std::int64_t staying_since_ns;  // the loop's thread only, as the next ones
    double look_after_s;
    bool look_asked; // a callback of ours, which looks whether jobs are stuck, is among the loop's timers
    bool wake_asked; // `wakes_itself` is on the stack, and the callback it stands for in the loop's queue
    bool turn_asked; // a callback of ours, which tells of a turn, is in the loop's queue

    // Any thread, attached. Takes the call over.
    void post(loop_call& one);
    // Nobody will come for them: the loop is closed or gone.
    void drop_arrived();
    // The same for what was taken as well. No thread runs the loop.
    void drop_all();

    // The loop's thread. What could go on if the running task suspended now; when nothing can, the loop would
    // go to sleep.
    enum class others : std::uint8_t { none, ready, unknown };
    [[nodiscard]] others what_else() const;
    // Whether the running task may go on without suspending. A loop looks after its timers and sockets, and
    // takes calls from other threads, only between callbacks; tasks of which each await ends at once would
    // keep it from that. -1 with an error set.
    [[nodiscard]] int may_stay();
};

// The event loop that runs on this thread: a new reference; null without an error if there is none.
[[nodiscard]] event_loop* running_event_loop();
// From now on this loop, or with None no loop, runs on this thread. False with an error set.
[[nodiscard]] bool set_running_loop(PyObject* loop);
// Asked for each job that a caller runs itself, so it costs next to nothing where no loop can run: mostly
// nothing was imported since the last look, which the number of modules tells. asyncio alone is dozens.
struct asyncio_absence {
    static inline PyObject* modules = nullptr; // those that are imported, by name
    static inline std::atomic<Py_ssize_t> modules_without_it{-1};

    [[nodiscard]] static bool was_seen() noexcept {
        return PyDict_GET_SIZE(modules) == modules_without_it.load(std::memory_order_relaxed);
    }
    [[nodiscard]] static bool look();
};

// From now on no loop runs on this thread, until the one that does is shown again: a new reference, which
// that takes back; null if there was none. No error is set, before and after.
[[nodiscard]] PyObject* hide_running_loop();
void show_running_loop(PyObject* hidden);
// In the child of a fork no loop runs.
void forget_running_event_loop() noexcept;

// loop.<method>(<function bound to self>). False with an error set.
[[nodiscard]] bool call_loop(PyObject* loop, const char* method, PyMethodDef& definition, PyObject* self);

// The loop itself: a new reference, null without an error when it is gone.
[[nodiscard]] PyObject* loop_of(event_loop& of);

[[nodiscard]] int register_event_loop(PyObject* module);

} // namespace loomy::py
