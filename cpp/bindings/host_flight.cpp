#include "host_flight.hpp"

namespace loomy::py {

void host_flight::descriptions::copy(const launch_request& what) {
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < what.nargs; ++i) count += 2 * static_cast<std::size_t>(what.args[i].ndim);
    lengths.reserve(count); // so that no address changes
    buffers.assign(what.args, what.args + what.nargs);
    for (loomy_buffer& one : buffers) {
        for (const std::int64_t** part : {&one.shape, &one.strides}) {
            const std::int64_t* const theirs = *part;
            *part = lengths.data() + lengths.size();
            lengths.insert(lengths.end(), theirs, theirs + one.ndim);
        }
    }
}

job_handle<host_flight> host_flight::make(pool& on, launch_request what) {
    auto args = std::make_unique<descriptions>();
    args->copy(what);
    what.args = args->buffers.data();
    return job_handle<host_flight>(new host_flight(on, what, std::move(args), nullptr));
}

int host_flight::run_loop(const loomy_call* call) {
    const auto& self = *static_cast<const loop*>(call->launch->user_data);
    chunk_call& mine = chunk_call::of(call);
    mine.begin += self.begin;
    mine.end += self.begin;
    return self.fn(call, self.context);
}

job_handle<host_flight> host_flight::make_loop(pool& on, std::int64_t begin, std::int64_t end,
                                               std::int64_t grain, loomy_range_fn fn, void* context) {
    static constexpr loomy_kernel kernel{
        LOOMY_KERNEL_HEADER, "parallel_for", nullptr, nullptr, &run_loop, nullptr, nullptr, nullptr, 0, 0};
    auto body = std::make_unique<loop>(loop{begin, fn, context});
    launch_request what;
    what.kernel = &kernel;
    what.total = end - begin;
    what.grain = grain;
    what.user_data = body.get();
    return job_handle<host_flight>(new host_flight(on, what, nullptr, std::move(body)));
}

} // namespace loomy::py
