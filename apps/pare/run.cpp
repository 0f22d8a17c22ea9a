// pare run: a lowered model on images, by the runtime alone.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>

#include "apps/console.h"
#include "apps/json.h"
#include "apps/pare/commands.h"
#include "apps/pare/lowered.h"
#include "deploy/runtime/file.h"
#include "deploy/runtime/normalize.h"

namespace pare {

namespace {

struct RunFileArgs {
  int64_t top = 5, threads = 0;

  void fields(cli::Fields& f) {
    f(top, "top", "how many classes to name", {.min = 1, .max = 1000});
    f(threads, "threads", "threads; 0: one per processor", {.min = 0, .max = 1024});
  }
};

struct Answer {
  int64_t index;
  std::string label;
  float probability;
};

/// Names classes, and says what it found.
class Speaker {
 public:
  Speaker(int64_t top, const runtime::Program& program) : top_(top), program_(program) {}

  void say(const std::string& name, std::vector<float> outputs) const {
    say_json(name, answers(std::move(outputs)));
  }

 private:
  std::vector<Answer> answers(std::vector<float> y) const {
    runtime::softmax(y.data(), static_cast<int64_t>(y.size()));
    std::vector<int64_t> order(y.size());
    std::iota(order.begin(), order.end(), 0);
    const auto count = std::min<size_t>(order.size(), static_cast<size_t>(top_));
    const auto likelier = [&](int64_t a, int64_t b) {
      const float p = y[static_cast<size_t>(a)], q = y[static_cast<size_t>(b)];
      return p > q || (p == q && a < b);
    };
    std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(),
                      likelier);
    std::vector<Answer> best;
    for (size_t i = 0; i < count; ++i) {
      const auto k = static_cast<size_t>(order[i]);
      const bool named = k < program_.labels.size();
      best.push_back({order[i], named ? program_.labels[k] : fmt::format("class {}", k), y[k]});
    }
    return best;
  }

  static void say_json(const std::string& name, const std::vector<Answer>& best) {
    Json top = Json::array();
    for (const Answer& a : best) {
      top.push_back(
          {{"class", a.index}, {"label", a.label}, {"probability", json_number(a.probability)}});
    }
    fmt::print("{}\n", Json{{"image", name}, {"top", top}}.dump());
    std::fflush(stdout);
  }

  int64_t top_;
  const runtime::Program& program_;
};

/// Frames of bytes, until the input ends. What is left over is an error.
void run_frames(runtime::Session& session, const Speaker& speaker) {
  const int64_t bytes = session.input().numel();
  std::vector<uint8_t> frame(static_cast<size_t>(bytes));
  std::vector<float> image(frame.size());
  for (int64_t i = 0;; ++i) {
    const size_t got = std::fread(frame.data(), 1, frame.size(), stdin);
    if (got == 0 && i > 0) return;
    const runtime::Buffer& in = session.input();
    PARE_CHECK(got == frame.size(), "frame ", i + 1, " on stdin has ", got, " bytes, expected ",
               bytes, hint(fmt::format("{} x {} pixels of {} bytes", in.h, in.w, in.c)));
    runtime::normalize(session.program(), frame.data(), 1, image.data());
    std::vector<float> y(static_cast<size_t>(session.output().numel()));
    session.run(image.data(), 1, y.data());
    speaker.say(fmt::format("frame {}", i), std::move(y));
  }
}

}  // namespace

int run_command(int argc, char** argv) {
  RunFileArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare run",
       .summary = "Runs a lowered model on raw frames from stdin; a line of JSON answers each.",
       .rest = "MODEL.pare",
       .examples = "  ffmpeg -i clip.mp4 -vf scale=32:32 -f rawvideo -pix_fmt rgb24 - | \\\n"
                   "      pare run model.pare\n"},
      argc, argv);
  if (given.leave) return 0;
  PARE_CHECK(given.rest.size() == 1, "expected one file: pare run MODEL.pare < frames");
  runtime::Session session(runtime::load(given.rest[0]), static_cast<int>(args.threads));
  const Speaker speaker(args.top, session.program());
  run_frames(session, speaker);
  return 0;
}

}  // namespace pare
