// Programs as text, for people and reports. The text has a line per tensor, state and instruction; an
// instruction looks the same here, in verify()'s messages and in a trace.
#pragma once

#include <string>

#include "program/program.h"

namespace clutch {

// "%7 layer0.f[64] = add_bias %5 %6 blocks.att.bf[0]". Any index in range prints, legal or not.
std::string print_instruction(const Program& program, int index);

std::string print_program(const Program& program);

}  // namespace clutch
