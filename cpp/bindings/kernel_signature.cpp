#include "kernel_signature.hpp"

#include <algorithm>

#include "buffer_format.hpp"

namespace loomy::py {
namespace {

bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

class reader {
  public:
    reader(std::string_view text, std::string& fault) : text_(text), fault_(fault) {}

    bool read(kernel_signature& into) {
        for (skip_blanks(); at_ < text_.size(); skip_blanks()) {
            kernel_signature::parameter next;
            if (!read_parameter(into, next)) return false;
            if (at_ < text_.size() && text_[at_] != ' ') return fail("a blank between arguments");
            if (into.parameters.size() == kernel_signature::most_parameters)
                return fail("fewer arguments; 64 are the most");
            into.parameters.push_back(std::move(next));
        }
        return true;
    }

  private:
    bool read_parameter(kernel_signature& whole, kernel_signature::parameter& into) {
        const std::size_t colon = text_.substr(0, text_.find_first_of(" [", at_)).find(':', at_);
        if (colon != std::string_view::npos) {
            into.name = read_name();
            if (into.name.empty() || at_ != colon) return fail("the name of an argument");
            ++at_;
        }
        const std::size_t start = at_;
        while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
        std::size_t end = at_;
        const bool brackets = next_is('[');
        // Without brackets a c after the digits is contiguity, which a scalar has not.
        const std::optional<loomy_dtype> dtype = dtype_of(text_.substr(start, end - start));
        if (!dtype) {
            at_ = start;
            return fail("a dtype: b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16");
        }
        into.dtype = *dtype;
        if (brackets) {
            into.is_array = true;
            if (!read_dimensions(whole, into)) return false;
            into.contiguous = take('c');
        }
        into.written = take('!');
        return true;
    }

    bool read_dimensions(kernel_signature& whole, kernel_signature::parameter& into) {
        (void)take('[');
        do {
            skip_blanks();
            kernel_signature::dimension one;
            using kind = kernel_signature::dimension::kind;
            if (take(':')) {
                one.how = kind::any;
            } else if (at_ < text_.size() && is_digit(text_[at_])) {
                one.how = kind::fixed;
                for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
                    if (one.length > (std::int64_t{1} << 58)) return fail("a length that fits 63 bits");
                    one.length = one.length * 10 + (text_[at_] - '0');
                }
            } else {
                const std::string name = read_name();
                if (name.empty()) return fail("a dimension: a number, a name or ':'");
                const auto known = std::find(whole.names.begin(), whole.names.end(), name);
                one.how = kind::named;
                one.name = static_cast<std::uint32_t>(known - whole.names.begin());
                if (known == whole.names.end()) whole.names.push_back(name);
            }
            if (into.dimensions.size() == kernel_signature::most_dimensions)
                return fail("fewer dimensions; 16 are the most");
            into.dimensions.push_back(one);
            skip_blanks();
        } while (take(','));
        return take(']') || fail("']' or ','");
    }

    std::string read_name() {
        const std::size_t start = at_;
        if (at_ < text_.size() && is_letter(text_[at_])) {
            while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
        }
        return std::string(text_.substr(start, at_ - start));
    }
    void skip_blanks() noexcept {
        while (next_is(' ')) ++at_;
    }
    [[nodiscard]] bool next_is(char c) const noexcept { return at_ < text_.size() && text_[at_] == c; }
    bool take(char c) noexcept {
        if (!next_is(c)) return false;
        ++at_;
        return true;
    }
    bool fail(const char* wanted) {
        fault_ = "signature \"" + std::string(text_) + "\": expected " + wanted + ", found " +
                 (at_ < text_.size() ? "\"" + std::string(text_.substr(at_, 12)) + "\"" : "the end");
        return false;
    }

    const std::string_view text_;
    std::string& fault_;
    std::size_t at_ = 0;
};

} // namespace

std::optional<std::uint32_t> kernel_signature::space() const noexcept {
    const auto found = std::find(names.begin(), names.end(), "n");
    if (found == names.end()) return std::nullopt;
    return static_cast<std::uint32_t>(found - names.begin());
}

std::optional<kernel_signature> kernel_signature::parse(std::string_view text, std::string& fault) {
    kernel_signature made;
    if (!reader(text, fault).read(made)) return std::nullopt;
    return made;
}

} // namespace loomy::py
