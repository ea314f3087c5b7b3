// A generated text against evaluating it as a whole, and known texts.
#include "generate/generator.h"

#include <gtest/gtest.h>

#include "backend/select.h"
#include "models/model.h"

namespace clutch {
namespace {

using Tokens = std::vector<std::uint16_t>;

// The initial weights of a seed on a backend.
struct Loaded {
  Loaded(const ModelConfig& config, std::uint64_t seed, const char* name)
      : program(build_program(config, {}).value()), backend(make_backend(name, 1).value()) {
    EXPECT_TRUE(backend->load(program, {}, initial_weights(program, seed)).ok());
  }
  Tokens generate(const std::vector<Tokens>& pieces, int count, const Sampling& sampling) {
    Generator generator = Generator::create(*backend, program).value();
    for (const Tokens& piece : pieces) EXPECT_TRUE(generator.feed(piece).ok());
    Tokens tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(generator.next(sampling).value());
    return tokens;
  }
  Program program;
  std::unique_ptr<Backend> backend;
};

const ModelConfig kSmall = {.dim = 8, .layers = 1, .vocab = 256};
const ModelConfig kOther = {.dim = 6, .layers = 2, .vocab = 256, .dialect = "egg.c", .activation = "relu"};
const Sampling kChoosy = {
    .temperature_q16 = 52429, .top_k = 20, .top_p_q16 = 62259, .min_p_q16 = 655, .seed = 123};
const Tokens kOnceUpon = {'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'};

// Of the second implementation, tests/second/clutch2.py: the second with its 0.8, 20, 0.95 and 0.01.
TEST(Generator, KnownTexts) {
  for (const char* backend : {"reference", "cpu"}) {
    EXPECT_EQ(Loaded(kSmall, 1, backend).generate({{0}}, 40, {.seed = 5}),
              (Tokens{23,  129, 104, 74,  22,  10, 176, 96, 218, 151, 6,   131, 173, 241,
                      134, 172, 87,  217, 150, 69, 110, 99, 32,  68,  191, 86,  245, 81,
                      17,  71,  45,  144, 50,  89, 12,  23, 117, 157, 152, 102}));
    EXPECT_EQ(Loaded(kOther, 99, backend).generate({kOnceUpon}, 40, kChoosy),
              (Tokens{49,  90,  110, 176, 127, 130, 26,  55,  191, 4,  19, 98, 149, 229,
                      59,  50,  152, 73,  29,  166, 127, 197, 118, 11, 35, 56, 253, 0,
                      162, 210, 195, 16,  178, 0,   253, 0,   23,  35, 61, 51}));
  }
}

// The logits after each token of the whole text, from one call, give the same choices: states carry over from
// feed to feed and from token to token, and positions count from the start of the prompt.
TEST(Generator, EqualsEvaluatingTheWholeTextAtOnce) {
  Loaded model(kOther, 7, "cpu");
  const Tokens written = model.generate({kOnceUpon}, 30, kChoosy);
  Tokens text = kOnceUpon;
  text.insert(text.end(), written.begin(), written.end());
  const auto length = static_cast<std::uint32_t>(text.size());
  text.push_back(0);
  const auto states = model.backend->new_states(1).value();
  const std::uint32_t stream = 0;
  std::int64_t loss = 0;
  std::vector<std::int8_t> logits(std::size_t{length} * 256);
  ASSERT_TRUE(model.backend
                  ->evaluate({.noise = {},
                              .length = length,
                              .text = text,
                              .stream_of = {&stream, 1},
                              .states = states.get()},
                             {.losses = {&loss, 1}, .logits = logits})
                  .ok());
  for (std::uint32_t i = static_cast<std::uint32_t>(kOnceUpon.size()); i < length; ++i) {
    const std::span<const std::int8_t> before(logits.data() + (i - 1) * 256, 256);
    ASSERT_EQ(sample(before, kChoosy, i), text[i]) << "position " << i;
  }
}

TEST(Generator, PiecesOfAPromptMakeNoDifference) {
  Loaded model(kOther, 7, "cpu");
  const Tokens whole = model.generate({kOnceUpon}, 20, kChoosy);
  EXPECT_EQ(model.generate({{'O'}, {'n', 'c', 'e', ' '}, {}, {'u', 'p', 'o', 'n'}}, 20, kChoosy), whole);
  EXPECT_EQ(model.generate({kOnceUpon}, 20, kChoosy), whole) << "a generator starts from zero states";
  Tokens longer = kOnceUpon;
  longer.insert(longer.end(), whole.begin(), whole.begin() + 5);
  EXPECT_EQ(model.generate({longer}, 15, kChoosy), Tokens(whole.begin() + 5, whole.end()));
}

TEST(Generator, WantsToBeFedFirst) {
  Loaded model(kSmall, 1, "cpu");
  Generator generator = Generator::create(*model.backend, model.program).value();
  EXPECT_DEATH((void)generator.next({}), "a generator is fed before it goes on");
}

}  // namespace
}  // namespace clutch
