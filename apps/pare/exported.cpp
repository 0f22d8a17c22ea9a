#include <memory>

#include "apps/pare/export.h"
#include "core/parallel.h"
#include "deploy/onnx/import.h"
#include "deploy/runtime/file.h"
#include "deploy/runtime/session.h"

namespace pare {

namespace {

/// x [N, H, W, C], normalized -> the program's outputs [N, classes].
struct ProgramModule final : nn::Module {
  explicit ProgramModule(runtime::Program program)
      : session(std::make_shared<runtime::Session>(std::move(program), num_threads())) {}

  Tensor forward(const Tensor& x) override {
    const runtime::Buffer& in = session->input();
    PARE_CHECK((x.dims() == 4 && x.dim(1) == in.h && x.dim(2) == in.w && x.dim(3) == in.c),
               "program: got ", x.shape(), ", expected ", Shape{x.dim(0), in.h, in.w, in.c});
    Tensor y = Tensor::uninit({x.dim(0), session->output().numel()});
    session->run(x.data(), x.dim(0), y.data());
    return y;
  }
  std::string describe() const override { return "Program"; }

  std::shared_ptr<runtime::Session> session;
};

}  // namespace

nn::Layer load_exported(const std::string& file) {
  if (is_onnx_file(file)) return onnx::import_file(file).model;
  return ProgramModule(runtime::load(file));
}

}  // namespace pare
