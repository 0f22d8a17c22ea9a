#include "apps/pare/commands.h"
#include "apps/train_run.h"

namespace pare {

int distill_command(int argc, char** argv) {
  TrainArgs args;
  cli::Fields fields;
  args.distill.fields(fields);
  args.fields(fields);
  fields.group("Model");
  fields(args.model.model, "student", "the same as --model", {.placeholder = "NAME"});
  return train_program(
      args, fields,
      {.name = "pare distill",
       .summary = "Trains a network (the student) with the help of a trained one (the teacher).",
       .examples = "  pare distill --teacher runs/big/best.safetensors --student resnet20 "
                   "--data data\n"
                   "  pare distill --teacher resnet56.safetensors --teacher-model resnet56 "
                   "--student resnet20 --quant wbab:W2A2 --loss kd:4:0.7 --loss vid:layer3\n"
                   "  pare distill --teacher ema --student resnet20 --loss kd:2:0.5 "
                   "--loss deep:layer1+layer2\n"
                   "\nLosses (--loss), with their numbers and what these are if not given:\n" +
                   distill::describe_terms()},
      argc, argv, [&args](cli::Given& given) {
        PARE_CHECK(args.distill.active(),
                   "--teacher is needed: the file with the teacher's weights",
                   hint("pare train trains without one"));
        PARE_CHECK(!(given.has("student") && given.has("model")),
                   "--student and --model are the same flag: give one");
        if (given.has("student")) given.flags.insert("model");
      });
}

}  // namespace pare
