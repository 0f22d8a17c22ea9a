// pare run: a lowered model on pictures or frames, by the runtime alone.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "apps/common_fields.h"
#include "apps/console.h"
#include "apps/json.h"
#include "apps/pare/commands.h"
#include "apps/pare/lowered.h"
#include "datasets/datasets.h"
#include "deploy/runtime/file.h"
#include "deploy/runtime/normalize.h"

namespace pare {

namespace {

struct RunFileArgs {
  int64_t top = 5, threads = 0, eval_resize = 0;
  bool json = false;

  void fields(cli::Fields& f) {
    f(top, "top", "how many classes to name", {.min = 1, .max = 1000});
    f(eval_resize, "eval-resize",
      "shorter side of a picture before its middle is cut out; 0: the model's own, nothing is cut",
      {.min = 0});
    f(json, "json", "a line of JSON for each picture, as for frames");
    cli::threads_field(f, threads);
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
  Speaker(int64_t top, const runtime::Program& program, bool json)
      : top_(top), program_(program), json_(json) {}

  void say(const std::string& name, std::vector<float> outputs) const {
    const std::vector<Answer> best = answers(std::move(outputs));
    json_ ? say_json(name, best) : say_text(name, best);
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

  static void say_text(const std::string& name, const std::vector<Answer>& best) {
    fmt::print("{}\n", name);
    for (const Answer& a : best) fmt::print("  {:6.2f} %  {}\n", 100 * a.probability, a.label);
    std::fflush(stdout);
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
  bool json_;
};

/// The model's answer to the bytes of one image.
std::vector<float> answer(runtime::Session& session, const std::vector<uint8_t>& bytes) {
  std::vector<float> image(bytes.size()), y(static_cast<size_t>(session.output().numel()));
  runtime::normalize(session.program(), bytes.data(), 1, image.data());
  session.run(image.data(), 1, y.data());
  return y;
}

/// The files named, and those in the folders named, in order.
std::vector<std::string> pictures(const std::vector<std::string>& names) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const std::string& name : names) {
    PARE_CHECK(fs::exists(name), "cannot find ", name, ", expected a picture or a folder of them");
    if (!fs::is_directory(name)) {
      files.push_back(name);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::recursive_directory_iterator(name)) {
      if (entry.is_regular_file()) inside.push_back(entry.path().string());
    }
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  PARE_CHECK(!files.empty(), "the folder holds no files");
  return files;
}

/// What cannot be read is named and left out. Returns the exit code: 1 if nothing could be read.
int run_pictures(runtime::Session& session, const Speaker& speaker, const RunFileArgs& args,
                 const std::vector<std::string>& names) {
  const runtime::Buffer& in = session.input();
  PARE_CHECK(in.h == in.w && in.c == 3, "the model takes images of ", in.h, " x ", in.w, " x ",
             in.c, ", pictures are cut to squares of three colours",
             hint("send it raw frames on stdin"));
  const datasets::PhotoOptions as{.size = in.h,
                                  .resize = args.eval_resize > 0 ? args.eval_resize : in.h};
  const std::vector<std::string> files = pictures(names);
  size_t left_out = 0;
  for (const std::string& file : files) {
    try {
      speaker.say(file, answer(session, datasets::read_photo(file, as)));
    } catch (const Error& e) {
      fmt::print(stderr, "pare run: {} is left out: {}\n", file, e.what());
      ++left_out;
    }
  }
  return left_out < files.size() ? 0 : 1;
}

/// Frames of bytes, until the input ends. What is left over is an error.
void run_frames(runtime::Session& session, const Speaker& speaker) {
  const int64_t bytes = session.input().numel();
  std::vector<uint8_t> frame(static_cast<size_t>(bytes));
  for (int64_t i = 0;; ++i) {
    const size_t got = std::fread(frame.data(), 1, frame.size(), stdin);
    if (got == 0 && i > 0) return;
    const runtime::Buffer& in = session.input();
    PARE_CHECK(got == frame.size(), "frame ", i + 1, " on stdin has ", got, " bytes, expected ",
               bytes, hint(fmt::format("{} x {} pixels of {} bytes", in.h, in.w, in.c)));
    speaker.say(fmt::format("frame {}", i), answer(session, frame));
  }
}

}  // namespace

int run_command(int argc, char** argv) {
  RunFileArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare run",
       .summary =
           "Runs a lowered model on pictures (JPEG, PNG, folders of them), or without any on "
           "raw frames from stdin, each of which a line of JSON answers.",
       .rest = "MODEL.pare [PICTURE...]",
       .examples = "  pare run model.pare cat.jpg photos/\n"
                   "  ffmpeg -i clip.mp4 -vf scale=32:32 -f rawvideo -pix_fmt rgb24 - | \\\n"
                   "      pare run model.pare\n"},
      argc, argv);
  if (given.leave) return 0;
  PARE_CHECK(!given.rest.empty(), "expected a file: pare run MODEL.pare [PICTURE...]");
  runtime::Session session(runtime::load(given.rest[0]), static_cast<int>(args.threads));
  const std::vector<std::string> names(given.rest.begin() + 1, given.rest.end());
  const Speaker speaker(args.top, session.program(), args.json || names.empty());
  if (!names.empty()) return run_pictures(session, speaker, args, names);
  run_frames(session, speaker);
  return 0;
}

}  // namespace pare
