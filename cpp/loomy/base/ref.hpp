#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace loomy {

// Intrusive reference count. A new object starts with one reference, which `adopt` takes over.
template <class T>
class ref_counted {
  public:
    ref_counted() noexcept = default;
    ref_counted(const ref_counted&) = delete;
    ref_counted& operator=(const ref_counted&) = delete;

    // Relaxed: who copies a reference already holds one, so nothing is published by it.
    void retain() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
    // For a list that holds no references: false if the object is being destroyed already.
    [[nodiscard]] bool try_retain() const noexcept {
        std::uint32_t seen = count_.load(std::memory_order_relaxed);
        while (seen != 0) {
            if (count_.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) return true;
        }
        return false;
    }
    void release() const noexcept {
        // acq_rel: the last owner must see every write the others made before letting go.
        if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete static_cast<const T*>(this);
    }

  protected:
    ~ref_counted() = default;

  private:
    mutable std::atomic<std::uint32_t> count_{1};
};

// Owning pointer to a ref_counted object.
template <class T>
class ref {
  public:
    constexpr ref() noexcept = default;
    constexpr ref(std::nullptr_t) noexcept {}
    ref(const ref& other) noexcept : ptr_(other.ptr_) {
        if (ptr_) ptr_->retain();
    }
    ref(ref&& other) noexcept : ptr_(std::exchange(other.ptr_, nullptr)) {}
    ref& operator=(ref other) noexcept {
        std::swap(ptr_, other.ptr_);
        return *this;
    }
    ~ref() {
        if (ptr_) ptr_->release();
    }

    // Takes over a reference the caller owns.
    [[nodiscard]] static ref adopt(T* ptr) noexcept {
        ref r;
        r.ptr_ = ptr;
        return r;
    }
    // Adds a reference of its own.
    [[nodiscard]] static ref share(T* ptr) noexcept {
        if (ptr) ptr->retain();
        return adopt(ptr);
    }

    [[nodiscard]] T* get() const noexcept { return ptr_; }
    [[nodiscard]] T* release() noexcept { return std::exchange(ptr_, nullptr); }
    void reset() noexcept { *this = ref{}; }
    T* operator->() const noexcept { return ptr_; }
    T& operator*() const noexcept { return *ptr_; }
    explicit operator bool() const noexcept { return ptr_ != nullptr; }
    friend bool operator==(const ref& a, const ref& b) noexcept { return a.ptr_ == b.ptr_; }

  private:
    T* ptr_ = nullptr;
};

} // namespace loomy
