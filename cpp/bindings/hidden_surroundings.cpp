#include "hidden_surroundings.hpp"

namespace loomy::py {

void hidden_surroundings::hide_what_there_is() {
    hides_ = true;
    exceptions_.hide();
    loop_ = hide_running_loop();
}

void hidden_surroundings::show() {
    hides_ = false;
    exceptions_.restore();
    if (loop_ != nullptr) show_running_loop(loop_);
}

} // namespace loomy::py
