#pragma once
// What all forms of `pare bench` share: things that are timed again and again, and how the figures
// are reported.

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/compute.h"
#include "apps/console.h"
#include "apps/json.h"
#include "apps/model.h"

namespace pare::bench {

/// The flags that every measurement has.
struct RunArgs {
  ComputeArgs compute;
  int64_t steps = 20, warmup = 3;
  bool serve = false, quiet = false, json = false;

  void fields(cli::Fields& f, bool with_precision = true);
  void check(const cli::Given& given) const;
  Console::Options console() const { return {.json = json || serve, .quiet = quiet || serve}; }
  /// "3 to warm up, 20 timed"
  std::string describe_steps() const;
};

/// A piece of work; `run` does it once and returns the seconds that it took.
struct Subject {
  std::string name;
  std::function<double()> run;
  std::vector<double> seconds = {};  // of the timed repetitions
  std::vector<double> peaks = {};    // FLOP/s of FMAs beside each of them
  bool own_threads = false;          // not those that other subjects and the FMAs run on

  /// For a subject with threads of its own: waits until all others sleep, and wakes up these.
  void settle() const;
  /// One repetition, between two short runs of nothing but FMAs where those share its threads.
  void repeat();
  /// Median share of the peak that was there at the time, of repetitions of so many FLOP.
  double peak_fraction(double flops) const;
};

/// Warms up and times every subject as the flags say. With --serve it answers instead: each number
/// N on stdin with N repetitions of every subject, {"name": [seconds, ...], ...}, a line each, so
/// that several processes can be measured in turn.
void repeat(std::vector<Subject>& subjects, const RunArgs& args, Console& console);

template <class F>
double seconds_of(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Spread {
  double median = 0, min = 0, max = 0;
};
/// Throws if there are no values.
Spread spread(std::vector<double> values);
Json to_json(const Spread& s);

/// ISA, threads, precision, commit, FMA peak: what every result states.
Json machine_json(const RunArgs& args, const Spread& peak);
/// "287.1 GFLOP/s of independent float32 FMAs (251.0 - 300.7)"
std::string describe_peak(const Spread& peak);
/// "pare bench train  avx512, 2 threads, fp32"
std::string headline(const std::string& form, const RunArgs& args);

/// A network that is lowered to several precisions, or one that is in a model.pare file.
struct LoweredJob {
  ModelCard card;
  std::string weights;                 // empty: random ones
  std::vector<std::string> precision;  // empty: `weights` is a model.pare file
  int64_t batch;
  RunArgs run;
};
/// The precisions that there are, and what they are, as --help says it.
extern const char* const kPrecisionHelp;
/// Measures them in turn.
int bench_lowered(LoweredJob job);

}  // namespace pare::bench

namespace pare {

int bench_train_command(int argc, char** argv);
int bench_infer_command(int argc, char** argv);
int bench_conv_command(int argc, char** argv);

}  // namespace pare
