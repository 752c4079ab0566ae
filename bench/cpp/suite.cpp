#include "suite.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "json_line.hpp"

namespace bench {
namespace {

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

template <class Of>
std::vector<double> each(const std::vector<sample>& rounds, Of&& of) {
    std::vector<double> values;
    values.reserve(rounds.size());
    for (const sample& one : rounds) values.push_back(of(one));
    return values;
}

void put_figures(json_line& line, const std::vector<sample>& rounds) {
    const std::vector<double> ns = each(rounds, [](const sample& one) { return one.ns; });
    const sample& last = rounds.back(); // percentiles are over all rounds so far
    line.put("median_ns", median(ns));
    line.put("spread",
             std::vector{*std::min_element(ns.begin(), ns.end()), *std::max_element(ns.begin(), ns.end())});
    if (last.p50 >= 0) line.put("p50", last.p50).put("p99", last.p99);
    line.put("wall_seconds", median(each(rounds, [](const sample& one) { return one.wall_seconds; })));
    line.put("cpu_seconds", median(each(rounds, [](const sample& one) { return one.cpu_seconds; })));
    for (std::size_t i = 0; i < last.extra_count; ++i) {
        line.put(last.extras[i].name,
                 median(each(rounds, [i](const sample& one) { return one.extras[i].value; })));
    }
    line.put("rounds", ns);
}

[[noreturn]] void usage(const std::string& wrong) {
    std::fprintf(stderr, "%s\nusage: [--list] [--case TEXT]... [--only COMPETITOR]... [--rounds N]\n",
                 wrong.c_str());
    std::exit(2);
}

} // namespace

suite::suite(std::string name, int argc, char** argv) : name_(std::move(name)) {
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        const auto value = [&] {
            if (++i == argc) usage(option + " wants a value");
            return std::string(argv[i]);
        };
        if (option == "--list") {
            list_ = true;
        } else if (option == "--case") {
            cases_.push_back(value());
        } else if (option == "--only") {
            competitors_.push_back(value());
        } else if (option == "--rounds") {
            rounds_ = std::atoi(value().c_str());
            if (rounds_ < 1) usage("--rounds wants a positive number");
        } else {
            usage("unknown option " + option);
        }
    }
}

suite::group& suite::group_of(const std::string& name) {
    const auto found =
        std::find_if(groups_.begin(), groups_.end(), [&](const group& g) { return g.name == name; });
    if (found != groups_.end()) return *found;
    return groups_.emplace_back(group{name, {}});
}

void suite::add(const std::string& name, const std::string& competitor, own_process::factory make,
                const std::string& note) {
    group_of(name).rows.push_back({competitor, note, {}, std::move(make)});
}

void suite::skip(const std::string& name, const std::string& competitor, const std::string& reason) {
    group_of(name).rows.push_back({competitor, {}, reason, {}});
}

bool suite::wanted(const std::string& name) const {
    return cases_.empty() || std::any_of(cases_.begin(), cases_.end(), [&](const std::string& text) {
               return name.find(text) != std::string::npos;
           });
}

bool suite::wanted(const row& one) const {
    return competitors_.empty() ||
           std::find(competitors_.begin(), competitors_.end(), one.competitor) != competitors_.end();
}

int suite::run() {
    bool right = true;
    for (const group& one : groups_) {
        if (!wanted(one.name)) continue;
        if (list_) {
            std::printf("%s\n", one.name.c_str());
        } else {
            right &= measure_group(one);
        }
    }
    return right ? 0 : 1;
}

bool suite::measure_group(const group& measured) const {
    struct state {
        const row* of;
        std::unique_ptr<own_process> process;
        std::vector<sample> rounds;
    };
    std::vector<state> states;
    for (const row& one : measured.rows) {
        if (wanted(one)) states.push_back({&one, nullptr, {}});
    }
    for (state& one : states) {
        if (!one.of->skipped.empty()) continue;
        one.process = std::make_unique<own_process>(one.of->make);
        (void)one.process->round(); // the warm-up, and how many operations make a round
    }
    for (int i = 0; i < rounds_; ++i) {
        for (state& one : states) {
            if (!one.process) continue;
            if (const auto taken = one.process->round()) one.rounds.push_back(*taken);
        }
    }
    bool right = true;
    for (const state& one : states) {
        json_line line;
        line.put("suite", name_).put("case", measured.name).put("competitor", one.of->competitor);
        if (!one.process) {
            line.put("skipped", one.of->skipped);
        } else if (!one.process->failure().empty()) {
            line.put("failure", one.process->failure());
            right = false;
        } else {
            put_figures(line, one.rounds);
        }
        if (!one.of->note.empty()) line.put("note", one.of->note);
        line.print();
    }
    return right;
}

} // namespace bench
