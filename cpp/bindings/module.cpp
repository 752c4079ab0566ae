#include "async_result.hpp"
#include "awaiter.hpp"
#include "bound_call.hpp"
#include "build_info.hpp"
#include "context.hpp"
#include "context_snapshot.hpp"
#include "errors.hpp"
#include "event_loop.hpp"
#include "executor_map.hpp"
#include "executor_object.hpp"
#include "future_object.hpp"
#include "host_api.hpp"
#include "kernel_object.hpp"
#include "map_iterator.hpp"
#include "pool_object.hpp"
#include "process_exit.hpp"
#include "registration.hpp"
#include "running_call.hpp"
#include "ufunc_object.hpp"

namespace loomy::py {

constexpr registration in_order[] = {
    register_interpreter,    register_errors,       register_build_info, register_context,
    register_context_layout, register_event_loop,   register_awaiter,    register_async_result,
    register_future,         register_map_iterator, register_pool,       register_executor,
    register_bound_call,     register_executor_map, register_current,    register_process_events,
    register_kernel,         register_host_api,     register_ufunc,
};

} // namespace loomy::py

PYBIND11_MODULE(_loomy, m, pybind11::mod_gil_not_used()) {
    loomy::py::register_all(m, loomy::py::in_order);
}
