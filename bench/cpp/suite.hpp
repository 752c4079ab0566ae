#pragma once

#include <string>
#include <vector>

#include "own_process.hpp"

namespace bench {

// The rows of one topic, measured and printed as lines of JSON: {"suite", "case", "competitor", "median_ns",
// ...}. The rounds of a case's rows are interleaved, A B C A B C: a machine that slows down slows everybody.
//
//   --list         the cases, one a line
//   --case TEXT    only cases whose name has TEXT in it; may be given again
//   --only NAME    only this competitor; may be given again
//   --rounds N     instead of 9
class suite {
  public:
    suite(std::string name, int argc, char** argv);

    // `note` goes with the row: what the system promises less than the others, or does instead.
    void add(const std::string& name, const std::string& competitor, own_process::factory make,
             const std::string& note = {});
    // A row that should be there and is not, and why.
    void skip(const std::string& name, const std::string& competitor, const std::string& reason);

    // Exit code: 1 when an answer was wrong or a process crashed or hung.
    [[nodiscard]] int run();

  private:
    struct row {
        std::string competitor, note, skipped;
        own_process::factory make;
    };
    struct group {
        std::string name;
        std::vector<row> rows;
    };

    [[nodiscard]] group& group_of(const std::string& name);
    [[nodiscard]] bool wanted(const std::string& name) const;
    [[nodiscard]] bool wanted(const row& one) const;
    [[nodiscard]] bool measure_group(const group& measured) const;

    const std::string name_;
    std::vector<group> groups_;
    std::vector<std::string> cases_, competitors_;
    int rounds_ = 9;
    bool list_ = false;
};

} // namespace bench
