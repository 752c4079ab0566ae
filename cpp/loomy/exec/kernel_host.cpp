#include <new>

#include "loomy/exec/function_job.hpp"
#include "loomy/exec/launch.hpp"
#include "loomy/kernel/interpreter.hpp"

namespace loomy {
namespace {

// A loop inside a chunk: its function, on the chunks of a launch of its own.
class nested_loop final : public launch {
  public:
    nested_loop(pool& home, std::int64_t begin, std::int64_t end, std::int64_t grain,
                const loomy_launch& outer, loomy_range_fn fn, void* context)
        : launch(home, end - begin, grain, outer, &run_part), begin_(begin), fn_(fn), context_(context) {}

  private:
    static int run_part(const loomy_call* call) {
        const auto& self = static_cast<const nested_loop&>(of(call->launch));
        chunk_call& mine = chunk_call::of(call);
        mine.begin += self.begin_;
        mine.end += self.begin_;
        return self.fn_(call, self.context_);
    }

    const std::int64_t begin_;
    const loomy_range_fn fn_;
    void* const context_;
};

// Without memory for a loop of its own: all of it here, as one piece.
int run_in_one_piece(const loomy_call& call, std::int64_t begin, std::int64_t end, loomy_range_fn fn,
                     void* context) {
    const chunk_call& chunk = chunk_call::of(&call);
    chunk_call piece{};
    static_cast<loomy_call&>(piece) = chunk;
    piece.launch = call.launch;
    piece.host = &piece;
    piece.where = chunk.where;
    piece.errors = chunk.errors;
    piece.begin = begin;
    piece.end = end;
    piece.chunk = -1;
    return fn(&piece, context);
}

// Where the error of a loop is kept, which is the chunk's if that returns the same code. Null without memory.
first_failure* failure_of_loop(const chunk_call& chunk) {
    chunk.of_loop.reset(new (std::nothrow) first_failure);
    return chunk.of_loop.get();
}

int set_error(const loomy_call* call, int code, const char* message, std::size_t length) {
    return launch::of(call->launch).report(code, {message, length}, {call->begin, call->end});
}
int set_launch_error(const loomy_launch* record, int code, const char* message, std::size_t length) {
    return launch::of(record).report(code, {message, length}, {0, record->total});
}
int should_stop(const loomy_call* call) {
    return loomy_should_stop(call);
}
int parallel_for(const loomy_call* call, std::int64_t begin, std::int64_t end, std::int64_t grain,
                 loomy_range_fn fn, void* context) {
    return run_nested_loop(*call, begin, end, grain, fn, context);
}
void* scratch(const loomy_call* call, std::size_t bytes, std::size_t align) {
    return chunk_call::of(call).where->where.scratch.take(bytes, align);
}
int with_interpreter(const loomy_call*, int (*fn)(void*), void* context) {
    int result = LOOMY_EUNAVAILABLE;
    if (interpreter.call == nullptr || !interpreter.call(fn, context, result)) return LOOMY_EUNAVAILABLE;
    return result;
}

constexpr loomy_api api{sizeof(loomy_api), LOOMY_ABI, &set_error,        &should_stop,
                        &parallel_for,     &scratch,  &with_interpreter, &set_launch_error};

} // namespace

const loomy_api& kernel_api() noexcept {
    return api;
}

int run_nested_loop(const loomy_call& call, std::int64_t begin, std::int64_t end, std::int64_t grain,
                    loomy_range_fn fn, void* context) {
    if (begin >= end) return LOOMY_OK;
    const chunk_call& chunk = chunk_call::of(&call);
    if (partition::exceeds_most(begin, end)) {
        if (first_failure* const kept = failure_of_loop(chunk)) {
            kept->keep(LOOMY_EVALUE, "a loop inside a chunk has more items than one can have",
                       {call.begin, call.end});
        }
        return LOOMY_EVALUE;
    }
    frame& on = *chunk.where;
    const job_handle<nested_loop> loop(
        new (std::nothrow) nested_loop(on.owner, begin, end, grain, *call.launch, fn, context));
    if (!loop) return run_in_one_piece(call, begin, end, fn, context);
    loop->list_in_outer();
    {
        frame nested(on.owner, on.where, on.env, false);
        on.owner.take_part(*loop, nested);
    }
    // Helps; a signal is for whoever waits for the whole launch.
    while (!loop->finished()) (void)on.owner.wait(*loop, deadline::never());
    loop->unlist_from_outer();
    const launch_outcome end_of_it = loop->outcome();
    if (end_of_it.as != phase::done) return LOOMY_CANCELLED;
    if (end_of_it.code == LOOMY_OK) return LOOMY_OK;
    if (first_failure* const kept = failure_of_loop(chunk))
        kept->keep(end_of_it.code, end_of_it.message, end_of_it.where, loop->take_foreign_error(), true);
    return end_of_it.code;
}

} // namespace loomy
