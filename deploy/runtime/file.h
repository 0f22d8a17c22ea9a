#pragma once
// model.pare: a program in one file. docs/deploy.md describes it byte by byte.

#include <string>

#include "deploy/runtime/program.h"

namespace pare::runtime {

/// The bytes of the file.
std::vector<uint8_t> to_bytes(const Program& program);
/// A program whose weights stay where they are; throws, saying what is wrong, on any other bytes.
/// `name` is for the messages.
Program from_bytes(const Bytes& bytes, const std::string& name);
/// Maps the file into memory.
Program load(const std::string& path);

}  // namespace pare::runtime
