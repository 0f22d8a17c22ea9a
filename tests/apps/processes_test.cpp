// Training by several processes under mpirun, as root and as a user.

#include <doctest/doctest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "nn/mpi.h"
#include "tests/apps/run.h"
#include "tests/apps/weights.h"
#include "tests/support/close.h"

namespace pare::test {
namespace {

/// Open MPI in a container: as root, more processes than cores, no ptrace; and no leak report, for
/// MPI keeps what it allocates.
const std::string kEnvironment =
    "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
    " OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none"
    " OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none"
    " ASAN_OPTIONS=detect_leaks=0 OMP_WAIT_POLICY=passive ";
const std::string kUser = "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp ";

/// Without batch norm or dropout, so that processes add up to one exactly.
const std::string kLenet =
    "pare train --model lenet5 --dataset synthetic --train-limit 150 --test-limit 60"
    " --eval-batch-size 25 --lr 0.1 ";
const std::string kTrain = kLenet + "--batch-size 40 --epochs 2 ";
const std::string kNormed =
    "pare train --model resnet20 --widths 4,4,8 --train-limit 110 --test-limit 60"
    " --batch-size 40 --lr 0.02 --epochs 1 ";

bool can_launch() {
  const bool yes = nn::with_mpi() && std::system("command -v mpirun >/dev/null") == 0;
  if (!yes) MESSAGE("skipped: no MPI in this build or no mpirun");
  return yes;
}

std::string launcher(int n) { return kEnvironment + "mpirun -n " + std::to_string(n); }

void check_close_weights(const std::string& a, const std::string& b, double tolerance) {
  const auto x = safetensors::read(a), y = safetensors::read(b);
  REQUIRE(x.entries.size() == y.entries.size());
  for (const auto& item : x.entries) {
    const std::string& name = item.first;
    CAPTURE(name);
    if (item.second.dtype != safetensors::Dtype::f32) continue;  // counters, seconds
    CHECK(close(item.second.tensor(), y.at(name).tensor(), {.absolute = tolerance}));
  }
}

/// Waits up to 20 s.
template <class F>
bool until(F&& f) {
  for (int i = 0; i < 400; ++i) {
    if (f()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

TEST_CASE("two processes with half the batch each are one, as root and as a user") {
  if (!can_launch()) return;
  TempDir dir;
  REQUIRE(run(dir, kTrain + "--out one --threads 1").code == 0);
  REQUIRE(run(dir, kNormed + "--out normed --threads 1").code == 0);
  std::vector<std::string> users{""};
  if (geteuid() == 0) users.push_back(kUser);
  fs::permissions(dir.path, fs::perms::all);
  for (size_t i = 0; i < users.size(); ++i) {
    const std::string out = "two" + std::to_string(i);
    const Result r = run(dir, kTrain + "--threads 1 --json --out " + out, users[i] + launcher(2));
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    CHECK(r.says("processes  2, each with its part"));
    const Json mine = r.json(), one = Json::parse(slurp(dir / "one/summary.json"));
    CHECK(mine["steps"] == one["steps"]);
    CHECK(mine["last_loss"].get<double>() ==
          doctest::Approx(one["last_loss"].get<double>()).epsilon(1e-4));
    check_close_weights(dir / (out + "/last.safetensors"), dir / "one/last.safetensors", 1e-5);
    CHECK(Json::parse(slurp(dir / (out + "/config.json")))["processes"] == 2);
  }
  const Result r = run(dir, kNormed + "--threads 1 --sync-bn --out synced", launcher(3));
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  check_close_weights(dir / "synced/last.safetensors", dir / "normed/last.safetensors", 1e-4);
}

TEST_CASE(
    "the other programs, stages and a resume with another number of processes work likewise") {
  if (!can_launch()) return;
  TempDir dir;
  const std::string tiny = kTiny + "--epochs 2 ";
  const auto ok = [&](const std::string& command, int n) {
    CAPTURE(command);
    const Result r = run(dir, command, launcher(n));
    CAPTURE(r.err);
    CHECK(r.code == 0);
  };
  ok("wbab --W 2 --A 2 --out bits" + tiny, 2);
  ok("wqaq --method iao --out iao" + tiny, 2);
  ok("pare train --quant-schedule \"0:float;1:uniform:W8A8\" --out staged" + tiny, 2);
  CHECK(fs::exists(dir / "staged/summary.json"));
  ok("pare distill --teacher staged/stage1/best.safetensors --loss kd --loss vid:model.1 --out "
     "small" +
         tiny,
     2);
  REQUIRE(run(dir, kTrain + "--out whole").code == 0);
  ok(kTrain + "--out parts --steps 3", 2);
  ok("pare train --resume --out parts", 3);
  check_close_weights(dir / "parts/last.safetensors", dir / "whole/last.safetensors", 1e-5);
}

TEST_CASE("what is wrong everywhere is said once, and nothing is left behind") {
  if (!can_launch()) return;
  TempDir dir;
  const Result r = run(dir, kLenet + "--batch-size 1 --out none", launcher(2));
  CAPTURE(r.err);
  CHECK(r.code == 1);
  const std::string what = "a batch of 1 images cannot be shared by 2 processes";
  CHECK(r.says(what));
  CHECK(r.err.find(what) == r.err.rfind(what));
  CHECK_FALSE(fs::exists(dir / "none"));
}

TEST_CASE("a process that dies ends the job with a message, and the last checkpoint is usable") {
  if (!can_launch()) return;
  TempDir dir;
  const std::string command =
      kLenet + "--batch-size 40 --epochs 4000 --save-every 1 --threads 1 --out r";
  Result r;
  std::thread job([&] { r = run(dir, command, launcher(2)); });
  const auto pid_of_second = [&]() -> int {  // of the process with rank 1 in this folder
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::error_code gone;
      if (fs::read_symlink(entry.path() / "cwd", gone) != fs::canonical(dir.path)) continue;
      const std::string environment = slurp(entry.path() / "environ");
      const std::string rank("OMPI_COMM_WORLD_RANK=1", 22);
      if (slurp(entry.path() / "comm") == "pare\n" && environment.find(rank) != std::string::npos) {
        return std::stoi(name);
      }
    }
    return 0;
  };
  const bool began = until([&] { return fs::exists(dir / "r/last.safetensors"); });
  const int victim = began ? pid_of_second() : 0;
  if (victim > 0) kill(victim, SIGKILL);
  job.join();
  CAPTURE(r.err);
  REQUIRE(began);
  REQUIRE(victim > 0);
  CHECK(r.code != 0);
  CHECK(r.code != 130);
  CHECK((r.err + r.out).find("exited on signal 9") != std::string::npos);
  const Json state = Json::parse(slurp(dir / "r/config.json"));
  CHECK(state["processes"] == 2);
  const int64_t done =
      safetensors::read(dir / "r/last.safetensors").at("train.state").integers()[2];
  CHECK(done > 0);
  const Result again =
      run(dir, "pare train --resume --out r --quiet --json --steps " + std::to_string(done + 3));
  CAPTURE(again.err);
  CHECK(again.code == 0);
  CHECK(again.json()["steps"] == done + 3);
}

TEST_CASE("a launcher's processes are refused by a build without MPI, and joined by one with it") {
  TempDir dir;
  CHECK(run(dir, "pare info --json --quiet").json()["mpi"] == nn::with_mpi());
  if (nn::with_mpi()) return;
  const Result r = run(dir, kTrain + "--out none", "env OMPI_COMM_WORLD_SIZE=2");
  CHECK(r.code == 1);
  CHECK(r.says("built without MPI"));
  CHECK_FALSE(fs::exists(dir / "none"));
}

}  // namespace
}  // namespace pare::test
