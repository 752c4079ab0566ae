// Kernels written with the headers that users have, against the host that runs them.
#include "loomy/kernel.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "launch_fixture.hpp"

using namespace loomy;
using namespace loomy::testing;

extern "C" {
const loomy_kernel* kernel_as_c99(void);
const loomy_kernel* kernel_as_c11(void);
const loomy_kernel* kernel_as_cxx11(void);
const loomy_kernel* loomy_kernel_saxpy(void);
const loomy_kernel* loomy_kernel_row_sums(void);
const loomy_kernel* loomy_kernel_types(void);
const loomy_kernel* loomy_kernel_throws(void);
const loomy_kernel* loomy_kernel_nested(void);
const loomy_kernel* loomy_kernel_polls(void);
}

namespace {

// Arguments, as the bindings would describe them.
class arguments {
  public:
    template <class T>
    arguments& array(T* data, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
        shapes_.push_back(std::move(shape));
        strides_.push_back(std::move(strides));
        return add(data, sizeof(T));
    }
    template <class T>
    arguments& scalar(T& value) {
        shapes_.emplace_back();
        strides_.emplace_back();
        return add(&value, sizeof(T));
    }
    [[nodiscard]] launch_request over(const loomy_kernel* kernel, std::int64_t total,
                                      std::int64_t chunks = 0) const {
        launch_request what;
        what.kernel = kernel;
        what.args = buffers_.data();
        what.nargs = static_cast<std::uint32_t>(buffers_.size());
        what.total = total;
        what.chunks = chunks;
        return what;
    }

  private:
    arguments& add(void* data, std::size_t size) {
        loomy_buffer one{};
        one.data = data;
        one.ndim = static_cast<std::int32_t>(shapes_.back().size());
        one.itemsize = static_cast<std::int64_t>(size);
        buffers_.push_back(one);
        for (std::size_t i = 0; i < buffers_.size();
             ++i) { // the vectors may have moved, their elements have not
            buffers_[i].shape = shapes_[i].data();
            buffers_[i].strides = strides_[i].data();
        }
        return *this;
    }
    std::vector<std::vector<std::int64_t>> shapes_, strides_;
    std::vector<loomy_buffer> buffers_;
};

} // namespace

TEST_CASE("a C kernel runs, whichever C or C++ it was compiled as") {
    for (const loomy_kernel* kernel : {kernel_as_c99(), kernel_as_c11(), kernel_as_cxx11()}) {
        REQUIRE(kernel_fault(kernel) == nullptr);
        pool_fixture pool(2);
        std::vector<double> y(10'000, 2.0);
        double factor = 1.5;
        arguments args;
        args.array(y.data(), {10'000}, {8}).scalar(factor);
        const handle one = make(pool, args.over(kernel, 10'000));
        CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
        CHECK(y == std::vector<double>(10'000, 3.0));
        factor = -1;
        const handle fails = make(pool, args.over(kernel, 1));
        const launch_outcome end = run(pool, *fails);
        CHECK(end.code == LOOMY_EVALUE);
        CHECK(end.message == "the factor is -1");
    }
}

TEST_CASE("a C++ kernel sees its arrays through their strides, and scalars as values") {
    pool_fixture pool(2);
    std::vector<double> x(2'000), y(1'000, 1.0);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
    double a = 2;
    arguments args; // every second element of x, from the last one backwards
    args.array(x.data() + 1'998, {1'000}, {-16}).array(y.data(), {1'000}, {8}).scalar(a);
    const handle one = make(pool, args.over(loomy_kernel_saxpy(), 1'000));
    CHECK(run(pool, *one, way::shared).code == LOOMY_OK);
    CHECK(y[0] == 1 + 2 * 1'998.0);
    CHECK(y[999] == 1.0);

    std::vector<float> m(6);
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<float>(i);
    std::vector<double> sums(3);
    arguments columns; // Fortran order: 3 rows of 2
    columns.array(m.data(), {3, 2}, {4, 12}).array(sums.data(), {3}, {8});
    const handle two = make(pool, columns.over(loomy_kernel_row_sums(), 3));
    CHECK(run(pool, *two).code == LOOMY_OK);
    CHECK(sums == std::vector<double>{3, 5, 7});
}

TEST_CASE("the signature is read off the C++ types") {
    CHECK(loomy_kernel_saxpy()->signature == std::string("f8[n] f8[n]! f8"));
    CHECK(loomy_kernel_saxpy()->name == std::string("saxpy"));
    CHECK(loomy_kernel_row_sums()->signature == std::string("f4[n,:] f8[n]!"));
    CHECK(loomy_kernel_types()->signature == std::string("i1[n] u2[n] i8[n,:,:] b1[n] c8[n]c c16[:]! b1 i4"));
    CHECK(loomy_kernel_types()->grain == 32);
    CHECK(loomy_kernel_types()->flags == LOOMY_K_FIXED);
    CHECK(loomy_kernel_polls()->signature == std::string());
}

TEST_CASE("a C++ kernel that is given the wrong number of arguments says so") {
    pool_fixture pool(1);
    const handle one = make(pool, arguments().over(loomy_kernel_saxpy(), 10));
    const launch_outcome end = run(pool, *one);
    CHECK(end.code == LOOMY_ETYPE);
    CHECK(end.message == "the kernel takes 3 arguments, not 0");
}

TEST_CASE("C++ exceptions become errors by their type") {
    struct expected {
        int code;
        std::string message;
    };
    const expected table[] = {
        {LOOMY_EMEMORY, "std::bad_alloc"},
        {LOOMY_EINDEX, "out of range"},
        {LOOMY_EVALUE, "invalid"},
        {LOOMY_EOVERFLOW, "overflow"},
        {LOOMY_EOS, "open: No such file or directory"},
        {LOOMY_ERROR, "logic"},
        {LOOMY_EZERODIV, "division by 0 (100 %s)"},
        {LOOMY_OK, ""}, // cancelled
        {LOOMY_EPANIC, "C++ exception of type int"},
    };
    pool_fixture pool(2);
    std::int64_t which = 0;
    for (const expected& want : table) {
        arguments args;
        args.scalar(which);
        const handle one = make(pool, args.over(loomy_kernel_throws(), 1));
        const launch_outcome end = run(pool, *one);
        CHECK(end.as == (want.code == LOOMY_OK ? phase::cancelled : phase::done));
        CHECK(end.code == want.code);
        CHECK(end.message == want.message);
        ++which;
    }
}

TEST_CASE("a C++ kernel has nested loops, scratch memory and the errors of its parts") {
    for (const std::uint32_t workers : {1u, 3u}) {
        pool_fixture pool(workers);
        std::vector<double> y(50);
        double bad = -1;
        arguments args;
        args.array(y.data(), {50}, {8}).scalar(bad);
        const handle one = make(pool, args.over(loomy_kernel_nested(), 50, 10));
        CHECK(run(pool, *one).code == LOOMY_OK);
        for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == 6.0 * static_cast<double>(i));
        bad = 42;
        const handle fails = make(pool, args.over(loomy_kernel_nested(), 50, 10));
        const launch_outcome end = run(pool, *fails);
        CHECK(end.code == LOOMY_EINDEX);
        CHECK(end.message == "part 2");
    }
}

TEST_CASE("a C++ kernel ends at a stop point") {
    pool_fixture pool(2);
    const handle one = make(pool, arguments().over(loomy_kernel_polls(), 10), launch::ends::with_its_chunks);
    REQUIRE(launch_queued(*pool, *one) == submitted::accepted);
    REQUIRE(eventually([&] { return one->has_started(); }));
    CHECK(pool->stop(*one, phase::timed_out));
    (void)pool->wait(*one, deadline::never());
    CHECK(one->outcome().as == phase::timed_out);
}
