#include "running_call.hpp"

#include "context.hpp"
#include "errors.hpp"
#include "python_batch.hpp"
#include "python_job.hpp"

namespace loomy::py {

running_call* running_call::current() noexcept {
    for (frame* one = frame::top(); one != nullptr; one = one->outer) {
        if (one->context != nullptr) return static_cast<running_call*>(one->context);
    }
    return nullptr;
}

cancel_token* running_call::token() {
    if (token_) return token_.get();
    try {
        // A child, also of a token made for this job alone: the job may cancel its context without ending
        // itself.
        token_ = cancel_token::make(deadline::never(), batch_ != nullptr ? batch_->token_of_items() : given_);
        home_.core->register_token(where_, token_);
    } catch (const std::bad_alloc&) {
        token_.reset();
        PyErr_NoMemory();
        return nullptr;
    }
    // From here on who cancels the job finds the token; who did so before left word.
    if (job_ != nullptr && job_->lend_token(token_.get())) token_->cancel();
    // A deadline that nobody would notice while a kernel or a wait polls the token.
    if (!token_->when().is_never()) token_->watch_deadline();
    return token_.get();
}

PyObject* running_call::context() {
    if (context_ == nullptr) {
        if (token() == nullptr) return nullptr;
        context_ = context_from_token(token_, values_);
    }
    return context_;
}

void running_call::end_slowly() {
    if (runs_loop_) where_.where.reluctant.fetch_sub(1, std::memory_order_relaxed);
    if (token_) {
        if (job_ != nullptr) (void)job_->lend_token(nullptr);
        home_.core->unregister_token(where_, *token_);
    }
    Py_CLEAR(context_);
}

namespace {

PyObject* current_context(PyObject*, PyObject*) {
    running_call* const call = running_call::current();
    if (call == nullptr) Py_RETURN_NONE;
    return Py_XNewRef(call->context());
}

PyObject* check_cancelled(PyObject*, PyObject*) {
    running_call* const call = running_call::current();
    if (call == nullptr) Py_RETURN_NONE;
    cancel_token* const token = call->token();
    if (token == nullptr) return nullptr;
    if (token->check() == cancel_reason::none) Py_RETURN_NONE;
    PyObject* const context = call->context();
    return context != nullptr ? PyObject_CallMethod(context, "check", nullptr) : nullptr;
}

PyObject* current_worker_id(PyObject*, PyObject*) {
    running_call* const call = running_call::current();
    if (call == nullptr) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(call->where().where.id);
}

PyMethodDef functions[] = {
    {"current_context", current_context, METH_NOARGS,
     PyDoc_STR("current_context()\n--\n\nThe context of the job this thread is running, made at the first "
               "call; None "
               "outside a job.")},
    {"check_cancelled", check_cancelled, METH_NOARGS,
     PyDoc_STR(
         "check_cancelled()\n--\n\nRaise JobCancelled or DeadlineExceeded if the job on this thread was "
         "cancelled.\n\nDoes nothing outside a job. Call it now and then in a long loop.")},
    {"current_worker_id", current_worker_id, METH_NOARGS,
     PyDoc_STR(
         "current_worker_id()\n--\n\nThe number of the slot this thread is running a job on; None outside a "
         "job.")},
    {nullptr, nullptr, 0, nullptr}};

} // namespace

int register_current(PyObject* module) {
    return PyModule_AddFunctions(module, functions);
}

} // namespace loomy::py
