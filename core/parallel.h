#pragma once
// Threads. Work is cut by shape alone, never by the number of threads, wherever the cut could
// change a bit.

#include <cstdint>
#include <memory>
#include <type_traits>

namespace pare {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// Non-owning reference to a callable: no allocation, unlike std::function.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit on purpose
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* o, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(static_cast<Args&&>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, static_cast<Args&&>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

/// Elements of cheap element-wise work that are worth handing to a thread.
inline constexpr int64_t kGrain = 16384;

/// Runs f on disjoint ranges that cover [0, n), each a multiple of `grain` long but the last. The
/// first exception is rethrown. f must give the same result however [0, n) is cut: split over
/// outputs, or call it with grain 1 over a fixed number of shards. Inside another parallel_for it
/// runs serially.
void parallel_for(int64_t n, int64_t grain, FunctionRef<void(Range)> f);

int num_threads();
/// Threads used from now on; 0 means one per processor this process may use.
void set_num_threads(int n);

}  // namespace pare
