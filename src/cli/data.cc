// clutch data: text made on the spot, and what a text's pairs of tokens tell.
#include <fmt/format.h>

#include <memory>

#include "base/files.h"
#include "cli/commands.h"
#include "data/corpus.h"
#include "data/entropy.h"
#include "data/stories.h"

namespace clutch::cli {
namespace {

constexpr std::int64_t kMaxBytes = std::int64_t{1} << 34;

struct Options {
  std::int64_t bytes = 1000000, seed = 0, vocab = 256;
  std::string out;
  std::vector<std::string> data;
};

Status check_bytes(const Options& options) {
  if (options.bytes >= 1 && options.bytes <= kMaxBytes) return {};
  return fail("--bytes", fmt::format("{} is outside 1..{}", options.bytes, kMaxBytes),
              "choose a size in that range");
}

Status deliver(const Options& options, const std::string& text) {
  return options.out.empty() ? write_stdout(text) : write_file_atomically(options.out, text);
}

Status make_stories_text(const Options& options) {
  CLUTCH_RETURN_IF_ERROR(check_bytes(options));
  return deliver(options, make_stories(static_cast<std::uint64_t>(options.bytes),
                                       static_cast<std::uint64_t>(options.seed)));
}

Status make_count_text(const Options& options) {
  CLUTCH_RETURN_IF_ERROR(check_bytes(options));
  if (options.vocab < 2 || options.vocab > 256) {
    return fail("--vocab", fmt::format("{} is outside 2..256", options.vocab), "16 is a good start");
  }
  auto text =
      make_count(static_cast<std::uint64_t>(options.bytes), static_cast<std::uint32_t>(options.vocab));
  if (!text.ok()) return text.status();
  return deliver(options, text.value());
}

Status print_entropy(const Options& options) {
  if (options.vocab < 2 || options.vocab > kMaxVocab) {
    return fail("--vocab", fmt::format("{} is outside 2..{}", options.vocab, kMaxVocab), "bytes have 256");
  }
  auto corpus = load_corpus(options.data, static_cast<std::uint32_t>(options.vocab));
  if (!corpus.ok()) return corpus.status();
  const TextEntropy entropy = measure_entropy(corpus.value().tokens);
  return write_stdout(fmt::format("tokens {}\nunigram {:.4f} bits\nbigram {:.4f} bits\ndigest {:016x}\n",
                                  corpus.value().tokens.size(), entropy.unigram_bits, entropy.bigram_bits,
                                  corpus.value().digest));
}

}  // namespace

void add_data(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* data = app.add_subcommand("data", "Make text, or measure it");
  data->require_subcommand(1);
  CLI::App* make = data->add_subcommand("make", "Make text: the same seed gives the same bytes everywhere");
  make->require_subcommand(1);

  CLI::App* stories = make->add_subcommand("stories", "Simple English stories, byte 0 after each");
  stories->add_option("--seed", options->seed, "Of the stories")->capture_default_str()->check(kInteger);
  CLI::App* count = make->add_subcommand("count", "The bytes 0, 1, ..., vocab-1, 0, 1, ...");
  count->add_option("--vocab", options->vocab, "Where it starts over, 2..256")
      ->capture_default_str()
      ->check(kInteger);
  for (CLI::App* kind : {stories, count}) {
    kind->add_option("--bytes", options->bytes, "Size")->capture_default_str()->check(kInteger);
    kind->add_option("-o,--out", options->out, "File to write; stdout without it");
  }
  CLI::App* entropy =
      data->add_subcommand("entropy", "The unigram and bigram entropy of a text, in bits per token");
  entropy->add_option("data", options->data, "Text, in every form that `clutch train` takes")->required();
  entropy->add_option("--vocab", options->vocab, "Number of tokens")->capture_default_str()->check(kInteger);

  data->footer("clutch data make stories --bytes 1000000 -o stories.txt\nclutch data entropy stories.txt");
  make->footer(
      "clutch data make stories --bytes 1000000 -o stories.txt\nclutch data make count --vocab 16 --bytes "
      "1000 -o count.txt");
  stories->footer("clutch data make stories --bytes 1000000 --seed 1 -o stories.txt");
  count->footer("clutch data make count --vocab 16 --bytes 1000 -o count.txt");
  entropy->footer("clutch data entropy stories.txt");

  stories->callback(
      [options, &exit_status] { exit_status = run_command([&] { return make_stories_text(*options); }); });
  count->callback(
      [options, &exit_status] { exit_status = run_command([&] { return make_count_text(*options); }); });
  entropy->callback(
      [options, &exit_status] { exit_status = run_command([&] { return print_entropy(*options); }); });
}

}  // namespace clutch::cli
