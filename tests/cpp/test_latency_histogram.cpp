#include "latency_histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using bench::latency_histogram;

namespace {

// The definition, on the samples themselves.
double exact_quantile(std::vector<std::int64_t> samples, double share) {
    std::sort(samples.begin(), samples.end());
    const double rank = std::ceil(share * static_cast<double>(samples.size()));
    return static_cast<double>(samples[static_cast<std::size_t>(std::max(rank, 1.0)) - 1]);
}

} // namespace

TEST_CASE("every duration has a bucket, in order and without gaps") {
    std::size_t last = 0;
    std::uint64_t edge = 0;
    // Around each power of two and each part of one, where a wrong shift shows.
    for (int power = 0; power < 64; ++power) {
        for (std::uint64_t part = 0; part < latency_histogram::parts; ++part) {
            const std::uint64_t base = std::uint64_t{1} << power;
            const std::uint64_t ns = base + (power >= 5 ? part << (power - 5) : part % base);
            if (ns < edge) continue;
            edge = ns;
            const std::size_t bucket = latency_histogram::bucket_of(ns);
            REQUIRE(bucket >= last);
            REQUIRE(bucket <= last + 1);
            REQUIRE(bucket < latency_histogram::bucket_count);
            last = bucket;
        }
    }
    CHECK(latency_histogram::bucket_of(std::numeric_limits<std::uint64_t>::max()) ==
          latency_histogram::bucket_count - 1);
}

TEST_CASE("the middle of a bucket is in that bucket and near all of it") {
    for (std::size_t bucket = 0; bucket < latency_histogram::bucket_of(std::uint64_t{1} << 52); ++bucket) {
        const double middle = latency_histogram::middle_of(bucket);
        REQUIRE(latency_histogram::bucket_of(static_cast<std::uint64_t>(middle)) == bucket);
    }
    std::mt19937_64 dice(1);
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t ns = dice() >> (12 + dice() % 52);
        const double middle = latency_histogram::middle_of(latency_histogram::bucket_of(ns));
        REQUIRE(std::abs(middle - static_cast<double>(ns)) <= static_cast<double>(ns) / 64);
    }
}

TEST_CASE("short durations are exact") {
    latency_histogram counts;
    for (std::int64_t ns = 1; ns <= 50; ++ns) counts.add(ns);
    CHECK(counts.total() == 50);
    CHECK(counts.quantile(0) == 1);
    CHECK(counts.quantile(0.5) == 25);
    CHECK(counts.quantile(0.98) == 49);
    CHECK(counts.quantile(1) == 50);
}

TEST_CASE("percentiles of a long tail are right to a sixty-fourth") {
    std::mt19937_64 dice(2);
    std::lognormal_distribution<double> latency(8, 2);
    latency_histogram counts;
    std::vector<std::int64_t> samples;
    for (int i = 0; i < 20'000; ++i) {
        samples.push_back(static_cast<std::int64_t>(latency(dice)));
        counts.add(samples.back());
    }
    for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const double exact = exact_quantile(samples, share);
        CAPTURE(share);
        CHECK(std::abs(counts.quantile(share) - exact) <= exact / 64 + 1e-9);
    }
}

TEST_CASE("without samples, and with clocks that ran backwards") {
    latency_histogram counts;
    CHECK(counts.quantile(0.5) == 0);
    counts.add(-7);
    CHECK(counts.total() == 1);
    CHECK(counts.quantile(1) == 0);
}
