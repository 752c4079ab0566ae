#pragma once

#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

namespace bench {

// One line of JSON, field by field.
class json_line {
  public:
    json_line& put(const std::string& name, const std::string& text) {
        key(name);
        quote(text);
        return *this;
    }
    json_line& put(const std::string& name, double number) {
        key(name);
        append(number);
        return *this;
    }
    json_line& put(const std::string& name, const std::vector<double>& numbers) {
        key(name);
        text_ += '[';
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            if (i != 0) text_ += ", ";
            append(numbers[i]);
        }
        text_ += ']';
        return *this;
    }
    void print() const {
        std::printf("{%s}\n", text_.c_str());
        std::fflush(stdout);
    }

  private:
    void key(const std::string& name) {
        if (!text_.empty()) text_ += ", ";
        quote(name);
        text_ += ": ";
    }
    void append(double number) {
        char digits[40];
        std::snprintf(digits, sizeof digits, "%.6g", number);
        text_ += digits;
    }
    void quote(const std::string& text) {
        text_ += '"';
        for (const char c : text) {
            if (c == '"' || c == '\\') text_ += '\\';
            text_ += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        text_ += '"';
    }

    std::string text_;
};

} // namespace bench
