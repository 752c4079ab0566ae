#include "loomy/base/cpu.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace loomy {
namespace {

int affinity_cpus() noexcept {
#if defined(__linux__)
    // The kernel refuses a mask shorter than its own, so grow until it fits.
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t* set = CPU_ALLOC(static_cast<unsigned>(cpus));
        if (set == nullptr) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<unsigned>(cpus));
        const int failed = sched_getaffinity(0, bytes, set);
        const int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0) return count;
    }
#endif
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

#if defined(__linux__)
// Reads "<quota> <period>" (cgroup v2) and returns the CPUs it allows, or 0 when it sets no limit.
double quota_from_pair(const char* path) noexcept {
    std::FILE* file = std::fopen(path, "re");
    if (file == nullptr) return 0;
    char quota[32] = "";
    double period = 0;
    const int fields = std::fscanf(file, "%31s %lf", quota, &period);
    std::fclose(file);
    if (fields != 2 || std::strcmp(quota, "max") == 0 || period <= 0) return 0;
    return std::atof(quota) / period;
}

double read_number(const char* path) noexcept {
    std::FILE* file = std::fopen(path, "re");
    if (file == nullptr) return 0;
    double value = 0;
    if (std::fscanf(file, "%lf", &value) != 1) value = 0;
    std::fclose(file);
    return value;
}

// The tightest quota on the way from this process's cgroup up to the root.
double cgroup_cpus() noexcept {
    std::FILE* file = std::fopen("/proc/self/cgroup", "re");
    if (file == nullptr) return 0;
    double tightest = 0;
    char line[1024];
    while (std::fgets(line, sizeof line, file) != nullptr) {
        line[std::strcspn(line, "\n")] = '\0';
        if (std::strncmp(line, "0::", 3) != 0) continue;
        char path[1200];
        std::size_t length = std::strlen(line + 3);
        for (;;) {
            std::snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cpu.max", static_cast<int>(length),
                          line + 3);
            const double cpus = quota_from_pair(path);
            if (cpus > 0 && (tightest == 0 || cpus < tightest)) tightest = cpus;
            while (length > 0 && line[3 + length - 1] != '/') --length;
            if (length == 0) break;
            --length;
        }
    }
    std::fclose(file);
    // cgroup v1 mounts the controller of a container at the top of its own tree.
    const double quota = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    const double period = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota > 0 && period > 0 && (tightest == 0 || quota / period < tightest)) tightest = quota / period;
    return tightest;
}
#endif

} // namespace

void give_cpu_away() noexcept {
    std::this_thread::yield();
}

int usable_cpus() noexcept {
    int cpus = affinity_cpus();
#if defined(__linux__)
    const double quota = cgroup_cpus();
    if (quota > 0) cpus = std::min(cpus, static_cast<int>(std::ceil(quota)));
#endif
    return std::max(1, cpus);
}

} // namespace loomy
