// Training steps for bench/compare/run, in the protocol of torch_step.py: requests "MODEL BATCH LAYOUT STEPS" on
// stdin (the layout is always NHWC here), the seconds of each step as a JSON list on stdout.

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "core/ops.h"
#include "core/parallel.h"
#include "models/models.h"
#include "nn/optim.h"

namespace {

using namespace pare;

class Job {
 public:
  Job(const std::string& name, int64_t batch) {
    const bool imagenet = name == "resnet18";
    const int64_t size = imagenet ? 224 : 32, classes = imagenet ? 1000 : 10;
    model_ = models::make(name, {.classes = classes, .image = {size, size, 3}});
    Rng rng(1);
    nn::init(model_, rng, models::init_options(name));
    x_ = Tensor::normal({batch, size, size, 3}, rng);
    y_ = Tensor::uninit({batch});
    for (int64_t i = 0; i < batch; ++i) y_.data()[i] = static_cast<float>(rng.below(classes));
    optimizer_ = nn::sgd(nn::param_groups(model_, 0.0f), {.lr = 0.01f, .momentum = 0.9f});
  }

  double step() {
    const auto start = std::chrono::steady_clock::now();
    optimizer_->zero_grad();
    cross_entropy(model_(x_), y_).backward();
    optimizer_->step();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  nn::Layer model_;
  Tensor x_, y_;
  std::unique_ptr<nn::Optimizer> optimizer_;
};

}  // namespace

int main(int argc, char** argv) try {
  set_num_threads(argc > 1 ? std::stoi(argv[1]) : 2);
  std::string name, layout, current;
  std::unique_ptr<Job> job;
  for (int64_t batch, steps; std::cin >> name >> batch >> layout >> steps;) {
    const std::string key = name + std::to_string(batch);
    if (key != current) {
      job.reset();  // one model in memory at a time
      job = std::make_unique<Job>(name, batch);
      job->step();
      current = key;
    }
    std::cout << '[';
    for (int64_t i = 0; i < steps; ++i) std::cout << (i ? ", " : "") << job->step();
    std::cout << "]" << std::endl;
  }
  return 0;
} catch (const std::exception& e) {
  std::cerr << "pare_step: " << e.what() << '\n';
  return 1;
}
