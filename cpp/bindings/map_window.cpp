#include "map_window.hpp"

#include "await_in_place.hpp"
#include "gil.hpp"

namespace loomy::py {
namespace {

void cancel(async_result* one, map_window::cancels what) {
    pool& core = *one->job.home->core;
    if (what == map_window::cancels::running_too) {
        (void)core.abandon(one->job, phase::cancelled);
    } else {
        (void)core.abandon_queued(one->job, phase::cancelled);
    }
}

} // namespace

void map_window::arrived(listener& node) {
    auto* const self = static_cast<report*>(&node);
    {
        const std::lock_guard guard(self->to->lock);
        self->to->ended.push_back(self->from);
        if (self->to->consumer != nullptr) self->to->consumer->unpark();
    }
    delete self;
}

void map_window::add(async_result* submitted) {
    if (ordered_) {
        in_order_.push_back(submitted);
        return;
    }
    outstanding_.insert(submitted);
    auto* const node = new report;
    node->call = &arrived;
    node->is_native = true;
    node->to = finished_;
    node->from = submitted;
    if (!submitted->job.listen(*node)) arrived(*node);
}

bool map_window::has_finished() noexcept {
    if (ordered_) {
        return !in_order_.empty() &&
               (in_order_.front()->job.finished() || in_order_.front()->job.home->core->dead());
    }
    const std::lock_guard guard(finished_->lock);
    return !finished_->ended.empty();
}

async_result* map_window::take() {
    if (!has_finished()) return nullptr;
    async_result* next = nullptr;
    if (ordered_) {
        next = in_order_.front();
        in_order_.pop_front();
        return next;
    }
    const std::lock_guard guard(finished_->lock);
    next = finished_->ended.front();
    finished_->ended.pop_front();
    outstanding_.erase(next);
    return next;
}

async_result* map_window::take_soon() {
    if (async_result* const next = take()) return next;
    event_loop* const loop = size() != 0 ? running_event_loop() : nullptr;
    if (loop == nullptr) return nullptr;
    async_result* const one = ordered_ ? in_order_.front() : *outstanding_.begin();
    Py_INCREF(reinterpret_cast<PyObject*>(one));
    std::int64_t since_ns = 0;
    const before waited = wait_in_place(one, *loop, since_ns);
    Py_DECREF(reinterpret_cast<PyObject*>(one));
    Py_DECREF(reinterpret_cast<PyObject*>(loop));
    return waited == before::failed ? nullptr : take();
}

int map_window::wait() {
    if (ordered_) return wait_for(in_order_.front(), deadline::never());
    if (frame::top() != nullptr) {
        // Inside a job: help with one of them, rather than block the worker they may need.
        async_result* const one = *outstanding_.begin();
        Py_INCREF(reinterpret_cast<PyObject*>(one));
        const int woken = wait_for(one, deadline::never());
        Py_DECREF(reinterpret_cast<PyObject*>(one));
        return woken;
    }
    if ((*outstanding_.begin())->job.home->core->dead())
        return wait_for(*outstanding_.begin(), deadline::never());
    parker sleeper;
    {
        const std::lock_guard guard(finished_->lock);
        finished_->consumer = &sleeper;
    }
    const int woken = gil::wait_detached(deadline::never(), [&](deadline slice) {
        return has_finished() ? wait_status::woken : sleeper.park(slice);
    });
    const std::lock_guard guard(finished_->lock);
    finished_->consumer = nullptr;
    return woken;
}

PyObject* map_window::awaited() const {
    PyObject* const list = PyList_New(0);
    if (list == nullptr) return nullptr;
    const auto append = [list](async_result* one) {
        return PyList_Append(list, reinterpret_cast<PyObject*>(one)) == 0;
    };
    bool whole = true;
    if (ordered_) {
        whole = append(in_order_.front());
    } else {
        for (async_result* one : outstanding_) whole = whole && append(one);
    }
    if (whole) return list;
    Py_DECREF(list);
    return nullptr;
}

void map_window::abandon(cancels what) {
    // Cancelling a job may run Python, which may come back here: nothing is left by then.
    std::deque<async_result*> doomed;
    doomed.swap(in_order_);
    doomed.insert(doomed.end(), outstanding_.begin(), outstanding_.end());
    outstanding_.clear();
    // Those that run last, and the others newest first: so no worker is sent from one doomed job to the next.
    for (auto one = doomed.rbegin(); one != doomed.rend(); ++one) {
        (*one)->job.note_error_was_seen(); // nobody will ask for it
        cancel(*one, cancels::queued);
    }
    for (async_result* const one : doomed) {
        if (what == cancels::running_too) cancel(one, what);
        Py_DECREF(reinterpret_cast<PyObject*>(one));
    }
    const std::lock_guard guard(finished_->lock);
    finished_->ended.clear();
}

int map_window::traverse(visitproc visit, void* arg) const {
    for (async_result* one : in_order_) Py_VISIT(reinterpret_cast<PyObject*>(one));
    for (async_result* one : outstanding_) Py_VISIT(reinterpret_cast<PyObject*>(one));
    return 0;
}

} // namespace loomy::py
