// clutch: the program. Parses the command line and hands over to a command.
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/commands.h"
#include "exact/version.h"

namespace clutch::cli {

int finish(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

Status write_stdout(std::string_view bytes) {
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
  if (written && std::fflush(stdout) == 0) return {};
  return fail("standard output", std::string("cannot be written: ") + std::strerror(errno),
              "check where it goes");
}

namespace {

int run(int argc, char** argv) {
  CLI::App app{
      "Trains and runs language models made of integers, by evolution strategies instead of backpropagation, "
      "and gives\n"
      "the same bits on every machine.\n\n"
      "  clutch data make stories --bytes 1000000 -o stories.txt\n"
      "  clutch train --data stories.txt --out run\n"
      "  clutch generate -m run -p \"Once\"",
      "clutch"};
  app.set_version_flag("--version", CLUTCH_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  int exit_status = 0;
  add_train(app, exit_status);
  add_generate(app, exit_status);
  add_eval(app, exit_status);
  add_info(app, exit_status);
  add_replay(app, exit_status);
  add_data(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "error: %s\nRun `clutch %s--help` for what there is.\n", error.what(),
                 argc > 1 && argv[1][0] != '-' ? (std::string(argv[1]) + " ").c_str() : "");
    return 2;
  }
  return exit_status;
}

}  // namespace
}  // namespace clutch::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error to report, not a reason to vanish
  return clutch::cli::run(argc, argv);
}
