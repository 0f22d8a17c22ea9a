#include "core/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/scratch.h"

using namespace pare;

TEST_CASE("every index is visited once, in chunks of the grain") {
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    for (int64_t n : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        parallel_for(n, grain, [&](Range r) {
          CHECK_MESSAGE(r.begin % grain == 0, "ranges start at a multiple of the grain");
          for (int64_t i = r.begin; i < r.end; ++i) ++seen[static_cast<size_t>(i)];
        });
        for (const auto& s : seen) REQUIRE(s == 1);
      }
    }
  }
  set_num_threads(0);
}

TEST_CASE("the first exception comes out, and the threads go on working afterwards") {
  set_num_threads(3);
  CHECK_THROWS_AS(parallel_for(100, 1, [](Range) { throw std::runtime_error("inside"); }),
                  std::runtime_error);
  std::atomic<int64_t> sum = 0;
  parallel_for(100, 1, [&](Range r) { sum += r.size(); });
  CHECK(sum == 100);
  set_num_threads(0);
}

TEST_CASE("each thread begins with its own stretch, in every loop the same") {
  constexpr int kThreads = 4;
  set_num_threads(kThreads);
  const auto first_ranges = [] {
    std::mutex mutex;
    std::map<std::thread::id, int64_t> first;
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    const auto all_there = [&] {
      const std::lock_guard lock(mutex);
      return first.size() == kThreads;
    };
    parallel_for(64, 1, [&](Range r) {
      {
        const std::lock_guard lock(mutex);
        first.try_emplace(std::this_thread::get_id(), r.begin);
      }
      while (!all_there() && std::chrono::steady_clock::now() < late) std::this_thread::yield();
    });
    return first;
  };
  const auto first = first_ranges();
  std::set<int64_t> begins;
  for (const auto& [thread, begin] : first) begins.insert(begin);
  CHECK(begins == std::set<int64_t>{0, 16, 32, 48});
  CHECK(first_ranges() == first);
  set_num_threads(0);
}

TEST_CASE("a thread that has finished takes over what a late one has left") {
  set_num_threads(2);
  std::atomic<int64_t> done = 0;
  std::atomic<bool> taken_over = false;
  parallel_for(64, 1, [&](Range r) {
    if (r.begin == 0) {  // the other thread can do all but this range
      const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (done < 64 - r.size() && std::chrono::steady_clock::now() < late) {
        std::this_thread::yield();
      }
      taken_over = done == 64 - r.size();
    }
    done += r.size();
  });
  CHECK(done == 64);
  CHECK(taken_over);
  set_num_threads(0);
}

TEST_CASE("a loop inside a loop runs serially and completely") {
  std::atomic<int64_t> sum = 0;
  parallel_for(8, 1, [&](Range outer) {
    for (int64_t i = outer.begin; i < outer.end; ++i)
      parallel_for(10, 1, [&](Range r) { sum += r.size(); });
  });
  CHECK(sum == 80);
}

TEST_CASE("scratch nests, and blocks stay where they are while the arena grows") {
  Scratch outer;
  float* a = outer.floats(1000);
  a[999] = 1.0f;
  float* inner_block;
  {
    Scratch inner;
    inner_block = inner.floats(10);
    inner.floats(4 << 20)[0] = 2.0f;  // larger than the first chunk
  }
  CHECK(a[999] == 1.0f);
  Scratch again;
  CHECK(again.floats(10) == inner_block);
}
