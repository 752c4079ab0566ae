#pragma once

namespace loomy::py {

class python_pool;

// The pool of loomy.default_pool(), made if there is none that is open. Any thread; attaches only to make
// one. Null: it could not be made (nothing is set), or the interpreter is going away. Never goes away itself.
[[nodiscard]] python_pool* default_pool();

} // namespace loomy::py
