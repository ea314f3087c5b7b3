// A case of one step as a safetensors file that needs nothing else: the program as text, and all numbers as
// tensors (docs/FORMATS.md). Reading trusts nothing: a program is verified, every size and value checked.
#pragma once

#include <string>

#include "parity/case.h"

namespace clutch::parity {

// The case has one step, and whatever runs it passes verify().
Status write_case(const std::string& path, const Case& c);

Result<Case> read_case(const std::string& path);

// Of a file's bytes; `name` stands for it in failures.
Result<Case> parse_case(std::string_view bytes, const std::string& name);

// A program as JSON, and back. Parsing checks types and ranges of numbers, not what verify() judges.
std::string program_to_json(const Program& program);
Result<Program> program_from_json(const std::string& text, const std::string& name);

}  // namespace clutch::parity
