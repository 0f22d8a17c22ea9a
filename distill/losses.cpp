#include "distill/losses.h"

#include "core/error.h"

namespace pare::distill {

void check_logits(const char* who, const Tensor& z, const Tensor& t) {
  PARE_CHECK(z.dims() == 2 && z.shape() == t.shape(), who, ": the student's logits are ", z.shape(),
             ", the teacher's ", t.shape(), ", expected [N, classes] of both");
}

}  // namespace pare::distill
