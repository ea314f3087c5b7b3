// The commands of the program, one file each. A command adds itself to the application; when chosen it runs
// and leaves its exit status: 0, or 1 with an error on stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "base/status.h"

namespace clutch::cli {

void add_train(CLI::App& app, int& exit_status);
void add_generate(CLI::App& app, int& exit_status);
void add_eval(CLI::App& app, int& exit_status);
void add_info(CLI::App& app, int& exit_status);
void add_replay(CLI::App& app, int& exit_status);  // and pack, audit, diff
void add_report(CLI::App& app, int& exit_status);
void add_inspect(CLI::App& app, int& exit_status);
void add_data(CLI::App& app, int& exit_status);
void add_bench(CLI::App& app, int& exit_status);
void add_parity(CLI::App& app, int& exit_status);

// Refuses what is no integer of 64 bits, quoting it (CLI11 by itself would bend it into range).
extern const CLI::Validator kInteger;

// Refuses an empty word.
extern const CLI::Validator kNotEmpty;

// Prints "error: ..." to stderr if it is one; the exit status.
int finish(const Status& status);

// Runs a command: its exit status. Running out of memory is an error like others.
int run_command(const std::function<Status()>& command);

// Writes a message to stderr. Where nobody can read it, it is lost: no reason to end a run.
void say(std::string_view message);

// Says which backend `--backend auto` became; nothing where another was asked for.
void announce(const std::string& asked, const Backend& backend);

// The text without what a terminal would act on: control bytes but line ends and tabs become '?'.
std::string printable(std::string text);

// Writes bytes to stdout; fails where nobody reads or the disk is full.
Status write_stdout(std::string_view bytes);

}  // namespace clutch::cli
