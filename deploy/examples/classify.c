/* classify MODEL.pare < frames
   Reads frames of height x width x channels bytes from stdin, and prints the class of each. */

#include <stdio.h>
#include <stdlib.h>

#include "deploy/runtime/pare.h"

static int largest(const float* outputs, int count) {
  int best = 0;
  for (int i = 1; i < count; ++i) {
    if (outputs[i] > outputs[best]) best = i;
  }
  return best;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: classify MODEL.pare < frames\n");
    return 1;
  }
  pare_error error;
  pare_model* model = pare_load(argv[1], 0, &error);
  if (!model) {
    fprintf(stderr, "classify: %s\n", error.text);
    return 1;
  }
  const pare_shape shape = pare_shape_of(model);
  const size_t bytes = (size_t)shape.height * (size_t)shape.width * (size_t)shape.channels;
  uint8_t* frame = malloc(bytes);
  float* outputs = malloc((size_t)shape.outputs * sizeof(float));
  int failed = !frame || !outputs;
  while (!failed && fread(frame, 1, bytes, stdin) == bytes) {
    failed = pare_run_bytes(model, frame, 1, outputs, &error) != 0;
    if (failed) {
      fprintf(stderr, "classify: %s\n", error.text);
      break;
    }
    const int best = largest(outputs, shape.outputs);
    pare_softmax(outputs, shape.outputs);
    printf("%d %s %.4f\n", best, pare_label(model, best), outputs[best]);
  }
  free(frame);
  free(outputs);
  pare_free(model);
  return failed;
}
