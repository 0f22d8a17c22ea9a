/* Running model.pare files from C, C++ or anything that can call C. */
#ifndef PARE_H
#define PARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_model pare_model;

/* Where a function says why it failed: a line of text that is always ended by a zero. */
typedef struct {
  char text[256];
} pare_error;

/* What a model takes and gives, for one image: height x width pixels of channels numbers, channels
   together, row after row; and outputs numbers, one for each class. */
typedef struct {
  int32_t height, width, channels, outputs;
} pare_shape;

/* Loads a file. threads = 0: one for each processor. NULL on failure; error may be NULL. */
pare_model* pare_load(const char* path, int threads, pare_error* error);
void pare_free(pare_model* model); /* NULL is allowed */

pare_shape pare_shape_of(const pare_model* model);
/* The name of a class, "" if the file has none. Valid as long as the model. */
const char* pare_label(const pare_model* model, int32_t index);

/* Runs `count` images that are normalized as the model was trained. 0, or -1 and the reason. A
   model may be used by one thread at a time. */
int pare_run(pare_model* model, const float* images, int64_t count, float* outputs,
             pare_error* error);
/* The same for bytes of 0 to 255, which are normalized as the file says. */
int pare_run_bytes(pare_model* model, const uint8_t* images, int64_t count, float* outputs,
                   pare_error* error);
/* softmax in place: outputs of one image become probabilities. */
void pare_softmax(float* outputs, int32_t count);

#ifdef __cplusplus
}
#endif

#endif
