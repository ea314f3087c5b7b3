// The commands of the program, one file each. A command adds itself to the application; when chosen it runs
// and leaves its exit status: 0, or 1 with an error on stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"

namespace clutch::cli {

void add_train(CLI::App& app, int& exit_status);
void add_generate(CLI::App& app, int& exit_status);
void add_eval(CLI::App& app, int& exit_status);
void add_info(CLI::App& app, int& exit_status);
void add_replay(CLI::App& app, int& exit_status);  // and pack, audit, diff
void add_data(CLI::App& app, int& exit_status);

// Prints "error: ..." to stderr if it is one; the exit status.
int finish(const Status& status);

// Writes bytes to stdout; fails where nobody reads or the disk is full.
Status write_stdout(std::string_view bytes);

}  // namespace clutch::cli
