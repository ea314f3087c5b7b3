// Where two runs or two models part.
#pragma once

#include <string>

#include "base/status.h"

namespace clutch {

struct Difference {
  bool equal = false;
  std::string text;  // for a person: the first step, tensor and element that differ, and how many differ
};

// Two run folders: the first step whose log records differ, then their weights after that step, rebuilt, and
// what their rules remember. Otherwise two models (a run folder then stands for its last checkpoint): their
// weights, and what their rules remember where both are checkpoints. Fails where either cannot be read or
// their programs differ.
Result<Difference> diff(const std::string& a, const std::string& b);

}  // namespace clutch
