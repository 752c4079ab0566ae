// C4: kernel launches. What a chunk and a launch cost, and what two CPUs do for a function that is bound by
// memory and for one that is not.

#include <algorithm>
#include <memory>
#include <string>

#include "kernel_runners.hpp"
#include "measure.hpp"
#include "suite.hpp"

namespace bench {
namespace {

template <class Runner>
class chunks final : public counted_contender {
  public:
    explicit chunks(unsigned threads) : counted_contender(std::uint64_t{1} << 24), runner_(threads) {}
    void run(std::uint64_t operations) override {
        runner_.run_in_chunks(&do_nothing, on_, static_cast<std::int64_t>(operations));
    }
    // That every chunk ran is checked by `launches`, whose function leaves traces.
    void finish(std::uint64_t, sample&) override {}

  private:
    arrays on_;
    Runner runner_;
};

// `total` items a launch, again and again; ns are per launch, or per item if `per_item`.
template <class Runner>
class launches final : public counted_contender {
  public:
    launches(range_function function, std::int64_t total, unsigned threads, bool per_item)
        : function_(function), total_(total), per_item_(per_item), runner_(threads) {
        const auto size = static_cast<std::size_t>(total);
        on_.x.resize(size);
        on_.y.resize(size);
        for (std::size_t i = 0; i < size; ++i) on_.x[i] = static_cast<float>(i % 17) * 0.25f;
    }
    void prepare(std::uint64_t) override {
        on_.a = 1;
        std::fill(on_.y.begin(), on_.y.end(), 0.0f);
    }
    void run(std::uint64_t operations) override {
        for (std::uint64_t i = 0; i < operations; ++i) runner_.run(function_, on_, total_);
    }
    void finish(std::uint64_t operations, sample& taken) override {
        // The same on this thread, item by item.
        arrays expected = on_;
        std::fill(expected.y.begin(), expected.y.end(), 0.0f);
        if (function_ == &saxpy) {
            for (std::uint64_t i = 0; i < operations; ++i) saxpy(expected, 0, total_);
        } else {
            function_(expected, 0, total_);
        }
        taken.check(on_.y == expected.y, "the arrays have other values than computed one by one");
        if (per_item_) taken.ns /= static_cast<double>(total_);
    }

  private:
    const range_function function_;
    const std::int64_t total_;
    const bool per_item_;
    arrays on_;
    Runner runner_;
};

template <template <class> class Contender, class... Arguments>
void add_runners(suite& to, const std::string& name, Arguments... arguments) {
    const auto add = [&]<class Runner>() {
        to.add(name, Runner::name, [=] { return std::make_unique<Contender<Runner>>(arguments...); });
    };
    add.template operator()<sequential_runner>();
    add.template operator()<loomy_runner>();
#if BENCH_HAS_OPENMP
    add.template operator()<openmp_runner>();
#else
    to.skip(name, "OpenMP", "the compiler had none when the benchmarks were configured");
#endif
}

} // namespace
} // namespace bench

int main(int argc, char** argv) {
    using namespace bench;
    suite c4("C4", argc, argv);
    const range_function compute_bound = &compute;
    const range_function memory_bound = &saxpy;
    add_runners<chunks>(c4, "empty chunk, one thread", 1u);
    add_runners<chunks>(c4, "empty chunk, two threads", 2u);
    add_runners<launches>(c4, "launch with two arrays of 64", memory_bound, std::int64_t{64}, 2u, false);
    add_runners<launches>(c4, "saxpy of 10,000, per item", memory_bound, std::int64_t{10'000}, 2u, true);
    add_runners<launches>(c4, "saxpy of 4,000,000, per item", memory_bound, std::int64_t{4'000'000}, 2u,
                          true);
    add_runners<launches>(c4, "compute-bound, 200,000 items, per item", compute_bound, std::int64_t{200'000},
                          2u, true);
    return c4.run();
}
