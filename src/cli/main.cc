// clutch: the program. Parses the command line and hands over to a command.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>

#include "cli/commands.h"
#include "exact/version.h"

namespace clutch::cli {

const CLI::Validator kInteger(
    [](std::string& text) -> std::string {
      std::int64_t value = 0;
      const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
      const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
      const bool whole = error == std::errc() && end == text.data() + text.size();
      return whole ? "" : "'" + text + "' is not an integer of 64 bits";
    },
    "");

const CLI::Validator kNotEmpty(
    [](std::string& text) -> std::string { return text.empty() ? "must not be empty" : ""; }, "");

int finish(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

int run_command(const std::function<Status()>& command) {
  try {
    return finish(command());
  } catch (const std::bad_alloc&) {
    return finish(
        fail("memory", "there is not enough of it for this", "choose a smaller model, population or text"));
  }
}

void say(std::string_view message) {
  std::fwrite(message.data(), 1, message.size(), stderr);
  std::fflush(stderr);
}

void announce(const std::string& asked, const Backend& backend) {
  if (asked == "auto") say("backend: auto is " + backend.name() + ", the fastest that can run this\n");
}

std::string printable(std::string text) {
  for (char& byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if ((code < 32 && byte != '\n' && byte != '\t') || code == 127) byte = '?';
  }
  return text;
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
  add_inspect(app, exit_status);
  add_report(app, exit_status);
  add_replay(app, exit_status);
  add_data(app, exit_status);
  add_bench(app, exit_status);
  add_parity(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const auto unknown = app.remaining(true);
    // CLI11 names leftovers from the last to the first; a flag explains the words after it.
    const auto flag = std::find_if(unknown.begin(), unknown.end(),
                                   [](const std::string& word) { return word.starts_with('-'); });
    const std::string what = unknown.empty()         ? error.what()
                             : flag != unknown.end() ? "'" + *flag + "' is not known here"
                                                     : "'" + unknown.back() + "' is not known here";
    const bool command = argc > 1 && argv[1][0] != '-' && unknown.empty();
    say("error: " + what + "\nRun `clutch " + (command ? std::string(argv[1]) + " " : "") +
        "--help` for what there is.\n");
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
