#include "deploy/runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "deploy/runtime/conv.h"
#include "deploy/runtime/ops.h"
#include "deploy/runtime/pool.h"

namespace pare::runtime {

namespace {

constexpr int64_t kTogether = 8;  // images that go through an op before the next begins

/// Where buffers lie for `kTogether` images. Those that are not needed at the same time share.
class Plan {
 public:
  explicit Plan(const Program& p) : offset(p.buffers.size(), 0) {
    std::vector<size_t> last(p.buffers.size(), 0);
    for (size_t i = 0; i < p.ops.size(); ++i) {
      for (int32_t b : p.ops[i].inputs) last[static_cast<size_t>(b)] = i;
    }
    last[static_cast<size_t>(p.input)] = last[static_cast<size_t>(p.output)] = p.ops.size();
    place(p, p.input, last);
    for (size_t i = 0; i < p.ops.size(); ++i) {
      now_ = i;
      place(p, p.ops[i].output, last);
    }
  }

  std::vector<int64_t> offset;
  int64_t bytes = 0;

 private:
  struct Slot {
    int64_t offset, bytes;
    size_t until;  // the last op that needs it
  };

  void place(const Program& p, int32_t buffer, const std::vector<size_t>& last) {
    const auto at = static_cast<size_t>(buffer);
    // A kernel may read some bytes beyond the end.
    const int64_t need = (p.buffers[at].bytes() * kTogether + 127) / 64 * 64;
    Slot* best = nullptr;
    for (Slot& s : slots_) {
      if (s.until < now_ && s.bytes >= need && (!best || s.bytes < best->bytes)) best = &s;
    }
    if (!best) {
      best = &slots_.emplace_back(Slot{bytes, need, 0});
      bytes += need;
    }
    best->until = last[at];
    offset[at] = best->offset;
  }

  std::vector<Slot> slots_;
  size_t now_ = 0;
};

/// Memory of one thread that runs whole images.
struct Arena {
  std::vector<uint8_t> memory;
  uint8_t* base = nullptr;
  std::vector<uint32_t> scratch;

  void need(int64_t bytes) {
    if (base) return;
    memory.resize(static_cast<size_t>(bytes) + 64);
    const auto at = reinterpret_cast<uintptr_t>(memory.data());
    base = memory.data() + (64 - at % 64) % 64;
  }
};

}  // namespace

struct Session::Impl {
  Impl(Program p, int threads)
      : program(std::move(p)), plan(program), pool(threads), arenas(static_cast<size_t>(threads)) {
    for (Op& op : program.ops) {
      convs.emplace_back();
      if (op.kind == OpKind::conv) convs.back().emplace(program, op);
    }
  }

  uint8_t* at(const Arena& arena, int32_t buffer, int64_t image) const {
    const auto b = static_cast<size_t>(buffer);
    return arena.base + plan.offset[b] + image * program.buffers[b].bytes();
  }

  void run_unit(const Arena& arena, size_t i, int64_t image, int64_t unit,
                std::vector<uint32_t>& scratch) const {
    const Op& op = program.ops[i];
    uint8_t* y = at(arena, op.output, image);
    if (convs[i]) return convs[i]->run(unit, at(arena, op.inputs[0], image), y, scratch);
    std::vector<const uint8_t*> x;
    for (int32_t b : op.inputs) x.push_back(at(arena, b, image));
    run_op(program, op, unit, x.data(), y);
  }

  int64_t units(size_t i) const {
    return convs[i] ? convs[i]->units() : op_units(program, program.ops[i]);
  }

  void load(const Arena& arena, const float* images, int64_t count) const {
    std::memcpy(at(arena, program.input, 0), images, static_cast<size_t>(count * in_bytes()));
  }
  void store(const Arena& arena, int64_t count, float* outputs) const {
    std::memcpy(outputs, at(arena, program.output, 0), static_cast<size_t>(count * out_bytes()));
  }
  int64_t in_bytes() const { return program.buffers[static_cast<size_t>(program.input)].bytes(); }
  int64_t out_bytes() const { return program.buffers[static_cast<size_t>(program.output)].bytes(); }

  /// A few images by one thread.
  void run_alone(Arena& arena, const float* images, int64_t count, float* outputs,
                 double* seconds) {
    arena.need(plan.bytes);
    load(arena, images, count);
    for (size_t i = 0; i < program.ops.size(); ++i) {
      const auto began = std::chrono::steady_clock::now();
      const int64_t n = units(i);
      for (int64_t image = 0; image < count; ++image) {
        for (int64_t u = 0; u < n; ++u) run_unit(arena, i, image, u, arena.scratch);
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
      if (seconds) seconds[i] += took.count();
    }
    if (outputs) store(arena, count, outputs);
  }

  /// A few images by all threads.
  void run_together(const float* images, int64_t count, float* outputs) {
    Arena& arena = arenas[0];
    arena.need(plan.bytes);
    load(arena, images, count);
    for (size_t i = 0; i < program.ops.size(); ++i) {
      const int64_t n = units(i);
      pool.run(n * count, [&](int64_t k, int thread) {
        run_unit(arena, i, k / n, k % n, arenas[static_cast<size_t>(thread)].scratch);
      });
    }
    store(arena, count, outputs);
  }

  Program program;
  Plan plan;
  Pool pool;
  std::vector<Arena> arenas;  // by thread
  std::vector<std::optional<Conv>> convs;
};

namespace {

int threads_for(int wanted) {
  PARE_CHECK(wanted >= 0 && wanted <= 1024, "session: ", wanted, " threads, expected 0 to 1024");
  if (wanted > 0) return wanted;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

Session::Session(Program program, int threads) {
  check(program);
  impl_ = std::make_unique<Impl>(std::move(program), threads_for(threads));
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const Program& Session::program() const { return impl_->program; }
const Buffer& Session::input() const {
  return program().buffers[static_cast<size_t>(program().input)];
}
const Buffer& Session::output() const {
  return program().buffers[static_cast<size_t>(program().output)];
}
int Session::threads() const { return impl_->pool.threads(); }

void Session::run(const float* images, int64_t count, float* outputs) {
  const int64_t in = input().numel(), out = output().numel(), threads = impl_->pool.threads();
  if (threads == 1 || count >= 2 * threads) {
    const int64_t each = std::clamp<int64_t>(count / (2 * threads), 1, kTogether);
    impl_->pool.run((count + each - 1) / each, [&](int64_t i, int thread) {
      const int64_t first = i * each;
      impl_->run_alone(impl_->arenas[static_cast<size_t>(thread)], images + first * in,
                       std::min(each, count - first), outputs + first * out, nullptr);
    });
    return;
  }
  for (int64_t i = 0; i < count; i += kTogether) {
    impl_->run_together(images + i * in, std::min(kTogether, count - i), outputs + i * out);
  }
}

Session::Profile Session::profile(const float* images, int64_t count) {
  Profile p{std::vector<double>(program().ops.size()), count};
  for (int64_t i = 0; i < count; i += kTogether) {
    impl_->run_alone(impl_->arenas[0], images + i * input().numel(), std::min(kTogether, count - i),
                     nullptr, p.seconds.data());
  }
  return p;
}

std::vector<const char*> instruction_sets() {
  int count = 0;
  const kernels::Kernels* const* all = kernels::supported(&count);
  std::vector<const char*> names;
  for (int i = 0; i < count; ++i) names.push_back(all[i]->name);
  return names;
}

const char* instruction_set() { return kernels::active().name; }

void force_instruction_set(const char* name) {
  if (!name) return kernels::force(nullptr);
  int count = 0;
  const kernels::Kernels* const* all = kernels::supported(&count);
  for (int i = 0; i < count; ++i) {
    if (std::string_view(all[i]->name) == name) return kernels::force(all[i]);
  }
  throw Error(str("runtime: no kernels for '", name, "' on this CPU"), "force_instruction_set");
}

}  // namespace pare::runtime
