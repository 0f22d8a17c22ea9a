#include "apps/pare/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <thread>

#include "apps/common_fields.h"
#include "apps/pare/commands.h"
#include "apps/version.h"
#include "core/kernels/isa.h"
#include "core/kernels/peak.h"
#include "core/parallel.h"

namespace pare {

namespace bench {

namespace {

int64_t parse_count(const std::string& line) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), n);
  PARE_CHECK(error == std::errc() && end == line.data() + line.size() && n > 0, "--serve: got '",
             line, "' on stdin, expected a number of steps");
  return n;
}

void serve(std::vector<Subject>& subjects) {
  for (std::string line; std::getline(std::cin, line);) {
    const int64_t count = parse_count(line);
    Json answer = Json::object();
    for (Subject& s : subjects) {
      s.settle();
      for (int64_t i = 0; i < count; ++i) s.repeat();
      answer[s.name] = std::vector<double>(s.seconds.end() - count, s.seconds.end());
    }
    fmt::print("{}\n", answer.dump());
    std::fflush(stdout);
  }
}

}  // namespace

void RunArgs::fields(cli::Fields& f, bool with_precision) {
  f.group("Run");
  f(steps, "steps", "repetitions that are timed", {.min = 1});
  f(warmup, "warmup", "repetitions before, not timed", {.min = 0});
  with_precision ? compute.fields(f) : compute.fields_but_precision(f);
  f(serve, "serve",
    "repeat on demand: each number N on stdin is answered with the seconds of N repetitions, the "
    "end of the input with the result; for comparing processes in turn");
  cli::output_fields(f, quiet, json);
}

void RunArgs::check(const cli::Given& given) const {
  PARE_CHECK(!(serve && given.has("steps")), "--serve and --steps exclude each other");
}

std::string RunArgs::describe_steps() const {
  return fmt::format("{} to warm up, {} timed", warmup, steps);
}

void repeat(std::vector<Subject>& subjects, const RunArgs& args, Console& console) {
  const int64_t rounds = args.warmup + (args.serve ? 0 : args.steps);
  for (Subject& s : subjects) {
    for (int64_t i = 0; i < rounds; ++i) {
      console.status(fmt::format("{}  {} of {}", s.name, i + 1, rounds));
      if (i < args.warmup) {
        s.run();
      } else {
        s.repeat();
      }
    }
  }
  if (args.serve) serve(subjects);
}

void Subject::settle() const {
  if (!own_threads) return;
  // OpenMP's threads wait for more work for some milliseconds, and keep their cores busy with it.
  constexpr double kOthers = 20e-3, kOwn = 10e-3;
  std::this_thread::sleep_for(std::chrono::duration<double>(kOthers));
  for (double spent = 0; spent < kOwn;) spent += run();
}

void Subject::repeat() {
  if (own_threads) {
    seconds.push_back(run());
    return;
  }
  // Long enough to tell, short beside the work itself.
  const double burst = seconds.empty() ? 2e-3 : std::clamp(seconds.back() / 8, 1e-3, 2e-2);
  const double before = kernels::peak_flops(burst);
  seconds.push_back(run());
  peaks.push_back((before + kernels::peak_flops(burst)) / 2);
}

double Subject::peak_fraction(double flops) const {
  std::vector<double> fractions;
  for (size_t i = 0; i < seconds.size(); ++i) fractions.push_back(flops / seconds[i] / peaks[i]);
  return spread(std::move(fractions)).median;
}

Spread spread(std::vector<double> values) {
  PARE_CHECK(!values.empty(), "bench: nothing was timed");
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return {(values[(n - 1) / 2] + values[n / 2]) / 2, values.front(), values.back()};
}

Json to_json(const Spread& s) { return {{"median", s.median}, {"min", s.min}, {"max", s.max}}; }

Json machine_json(const RunArgs& args, const Spread& peak) {
  return {{"isa", isa_name(active_isa())},
          {"threads", num_threads()},
          {"precision", args.compute.precision},
          {"winograd", args.compute.winograd},
          {"commit", kCommit},
          {"peak_flops", peak.median},
          {"peak_flops_spread", to_json(peak)}};
}

std::string describe_peak(const Spread& peak) {
  return fmt::format("{:.1f} GFLOP/s of independent float32 FMAs ({:.1f} - {:.1f})",
                     peak.median / 1e9, peak.min / 1e9, peak.max / 1e9);
}

std::string headline(const std::string& form, const RunArgs& args) {
  return fmt::format("pare bench {}  {}, {} threads, {}", form, isa_name(active_isa()),
                     num_threads(), args.compute.precision);
}

}  // namespace bench

int bench_command(int argc, char** argv) {
  constexpr Command kForms[] = {
      {"train", "training steps of a model", bench_train_command},
      {"infer", "forward passes of a model, or of what it is lowered to", bench_infer_command},
      {"conv", "the three passes of a convolution, or of all that a model has", bench_conv_command},
  };
  return dispatch({.program = "pare bench",
                   .title = "Measures speed, in images/s and as a share of the machine's peak.",
                   .footer = "Each form has --help.",
                   .commands = kForms},
                  argc, argv);
}

}  // namespace pare
