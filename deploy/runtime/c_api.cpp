#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>

#include "core/error.h"
#include "deploy/runtime/file.h"
#include "deploy/runtime/normalize.h"
#include "deploy/runtime/pare.h"
#include "deploy/runtime/session.h"

struct pare_model {
  pare::runtime::Session session;
};

namespace {

void say(pare_error* error, const char* what) {
  if (!error) return;
  const size_t n = std::min(std::strlen(what), sizeof error->text - 1);
  std::memcpy(error->text, what, n);
  error->text[n] = 0;
  std::replace(error->text, error->text + n, '\n', ' ');
}

/// f(), and what it threw as a reason.
template <class F>
bool guarded(pare_error* error, F&& f) {
  try {
    f();
    return true;
  } catch (const std::exception& e) {
    say(error, e.what());
  } catch (...) {
    say(error, "unknown failure");
  }
  return false;
}

void check_call(const void* model, const void* images, int64_t count, const void* outputs) {
  PARE_CHECK(model && images && outputs && count > 0,
             "pare_run: needs a model, images, a positive count, and room for outputs");
}

}  // namespace

extern "C" {

pare_model* pare_load(const char* path, int threads, pare_error* error) {
  pare_model* model = nullptr;
  guarded(error, [&] {
    PARE_CHECK(path, "pare_load: needs a path");
    model = new pare_model{pare::runtime::Session(pare::runtime::load(path), threads)};
  });
  return model;
}

void pare_free(pare_model* model) { delete model; }

pare_shape pare_shape_of(const pare_model* model) {
  const pare::runtime::Buffer& in = model->session.input();
  return {in.h, in.w, in.c, static_cast<int32_t>(model->session.output().numel())};
}

const char* pare_label(const pare_model* model, int32_t index) {
  const std::vector<std::string>& labels = model->session.program().labels;
  return index >= 0 && static_cast<size_t>(index) < labels.size()
             ? labels[static_cast<size_t>(index)].c_str()
             : "";
}

int pare_run(pare_model* model, const float* images, int64_t count, float* outputs,
             pare_error* error) {
  return guarded(error,
                 [&] {
                   check_call(model, images, count, outputs);
                   model->session.run(images, count, outputs);
                 })
             ? 0
             : -1;
}

int pare_run_bytes(pare_model* model, const uint8_t* images, int64_t count, float* outputs,
                   pare_error* error) {
  return guarded(error,
                 [&] {
                   check_call(model, images, count, outputs);
                   std::vector<float> floats(
                       static_cast<size_t>(count * model->session.input().numel()));
                   pare::runtime::normalize(model->session.program(), images, count, floats.data());
                   model->session.run(floats.data(), count, outputs);
                 })
             ? 0
             : -1;
}

void pare_softmax(float* outputs, int32_t count) { pare::runtime::softmax(outputs, count); }

}  // extern "C"
