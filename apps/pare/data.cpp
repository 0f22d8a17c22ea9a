// pare data pack: photographs of a split in one file, shrunk.

#include "apps/data.h"

#include <fmt/format.h>

#include <chrono>
#include <functional>

#include "apps/common_fields.h"
#include "apps/console.h"
#include "apps/interrupt.h"
#include "apps/pare/commands.h"
#include "core/parallel.h"
#include "datasets/pack.h"

namespace pare {

namespace {

struct PackArgs {
  std::string data, out;
  int64_t size = 256, quality = 92, threads = 0;
  bool quiet = false, json = false;

  void fields(cli::Fields& f) {
    f.group("Pictures");
    f(data, "data", "folder with train/ and val/, a folder of JPEG or PNG files for each class",
      {.placeholder = "DIR"});
    f(out, "out", "folder that train.pack and val.pack go to; use it as --data",
      {.placeholder = "DIR"});
    f(size, "size", "shorter side of larger pictures from now on; 0: all stay as they are",
      {.min = 0});
    f(quality, "quality", "of the JPEGs written for them", {.min = 1, .max = 100});
    f.group("Run");
    cli::threads_field(f, threads);
    cli::output_fields(f, quiet, json);
  }
};

/// Draws where a split stands; Ctrl-C ends it here.
class Progress {
 public:
  Progress(Console& console, std::string split) : console_(console), split_(std::move(split)) {}

  void operator()(int64_t done, int64_t count) const {
    PARE_CHECK(!interrupted(), "interrupted; nothing was kept of ", split_, ".pack");
    const double seconds = this->seconds(), rate = static_cast<double>(done) / seconds;
    console_.status(fmt::format("{}  {} of {}  {:.0f} pictures/s  {} left", split_,
                                format_count(done), format_count(count), rate,
                                format_seconds(static_cast<double>(count - done) / rate)));
  }
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }

 private:
  Console& console_;
  std::string split_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

Json pack_split(const PackArgs& args, datasets::Split split, Console& console) {
  const Progress progress(console, split == datasets::Split::train ? "train" : "val");
  const datasets::Packed p = datasets::pack({.dir = args.data,
                                             .out = args.out,
                                             .split = split,
                                             .size = args.size,
                                             .quality = static_cast<int>(args.quality),
                                             .progress = std::cref(progress)});
  console.entry("packed",
                fmt::format("{}  {} pictures of {} classes, {} of them shrunk\n{}, was {}, in {}",
                            p.path, format_count(p.pictures), p.classes, format_count(p.shrunk),
                            format_bytes(p.bytes), format_bytes(p.bytes_before),
                            format_seconds(progress.seconds())));
  if (!p.left_out.empty()) console.entry("skipped", describe_unreadable(p.left_out));
  return {{"path", p.path},     {"pictures", p.pictures},       {"classes", p.classes},
          {"shrunk", p.shrunk}, {"skipped", p.left_out.size()}, {"bytes_before", p.bytes_before},
          {"bytes", p.bytes},   {"seconds", progress.seconds()}};
}

int data_pack_command(int argc, char** argv) {
  PackArgs args;
  const cli::Given given = cli::parse(
      args,
      {.name = "pare data pack",
       .summary = "Packs photographs into one file for each split, pictures shrunk on the way.",
       .examples = "  pare data pack --data imagenet --out imagenet-256\n"
                   "  pare data pack --data imagenette128 --out packed --size 0\n"},
      argc, argv);
  if (given.leave) return 0;
  PARE_CHECK(!args.data.empty() && !args.out.empty(), "--data and --out are needed",
             hint("pare data pack --help has examples"));
  set_num_threads(static_cast<int>(args.threads));
  catch_interrupts();
  Console console({.json = args.json, .quiet = args.quiet});
  Json all = Json::array();
  for (datasets::Split split : {datasets::Split::train, datasets::Split::test}) {
    if (datasets::has_split(args.data, split)) all.push_back(pack_split(args, split, console));
  }
  console.result({{"packs", all}});
  return 0;
}

}  // namespace

int data_command(int argc, char** argv) {
  constexpr Command kForms[] = {
      {"pack", "photographs in one file for each split", data_pack_command},
  };
  return dispatch({.program = "pare data",
                   .title = "Prepares data sets.",
                   .footer = "Each form has --help.",
                   .commands = kForms},
                  argc, argv);
}

}  // namespace pare
