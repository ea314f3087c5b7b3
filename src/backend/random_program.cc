#include "backend/random_program.h"

#include <string>

#include "exact/attention.h"
#include "program/builder.h"

namespace clutch::testing {

namespace {

std::int64_t random_width(Random& random) { return kOddWidths[random.in(0, std::size(kOddWidths) - 1)]; }

}  // namespace

Program random_program(Random& random, std::int64_t vocab) {
  // Half of the programs know positions; short windows begin anew within a test's text.
  const std::int64_t window = random.chance(50) ? 0 : random.in(1, random.chance(70) ? 9 : 60);
  Builder b("random", vocab, window);
  struct Known {
    int slot;
    std::int64_t width;
  };
  std::vector<Known> known;
  int names = 0;
  const auto name = [&](const char* what) { return what + std::to_string(names++); };
  const auto pick = [&]() { return known[random.in(0, static_cast<std::int64_t>(known.size()) - 1)]; };
  const auto pick_width = [&](std::int64_t width) {
    std::vector<Known> fit;
    for (const Known& k : known) {
      if (k.width == width) fit.push_back(k);
    }
    return fit[random.in(0, static_cast<std::int64_t>(fit.size()) - 1)].slot;
  };

  std::vector<Known> states;
  const std::int64_t dim = window > 0 && random.chance(80) ? 64 * random.in(1, 3) : random_width(random);
  for (std::int64_t s = random.in(0, 3); s > 0; --s) {
    const std::int64_t width = random.chance(60) ? dim : random_width(random);
    states.push_back({b.state(name("state"), width), width});
  }
  known = states;
  known.push_back({b.embed(name("embed"), b.matrix(name("E"), TensorSpec::kUnstacked, vocab, dim)), dim});

  for (std::int64_t ops = random.in(3, 14); ops > 0; --ops) {
    const Known x = pick();
    const std::int64_t w = x.width;
    const int constant = static_cast<int>(random.in(-127, 127));
    const auto rounding = random.chance(50) ? exact::Rounding::kFloor : exact::Rounding::kTruncate;
    const bool heads = window > 0 && w % exact::kHeadWidth == 0;
    switch (static_cast<int>(random.in(0, heads ? 15 : 11))) {
      case 0:
      case 1: {
        const std::int64_t out = random.chance(50) ? w : random_width(random);
        known.push_back({b.matmul(name("matmul"), x.slot, b.matrix(name("W"), TensorSpec::kUnstacked, out, w),
                                  random.chance(50) ? 1 << random.in(0, 10) : random.in(1, 3000)),
                         out});
        break;
      }
      case 2:
        known.push_back({b.norm(name("norm"), x.slot, b.vector(name("g"), -1, w, constant), rounding), w});
        break;
      case 3:
        known.push_back({b.add(name("add"), x.slot, pick_width(w)), w});
        break;
      case 4:
        known.push_back(
            {b.add_bias(name("bias"), x.slot, pick_width(w), b.vector(name("b"), -1, w, constant)), w});
        break;
      case 5:
        known.push_back({b.gate(name("gate"), x.slot, pick_width(w)), w});
        break;
      case 6:
        known.push_back({b.mix(name("mix"), x.slot, pick_width(w), pick_width(w)), w});
        break;
      case 7:
        known.push_back({b.relu(name("relu"), x.slot), w});
        break;
      case 8:
        known.push_back({b.bias(name("bias"), x.slot, b.vector(name("b"), -1, w, constant)), w});
        break;
      case 9:
        known.push_back({b.gelu(name("gelu"), x.slot), w});
        break;
      case 10:
        known.push_back({b.rescale(name("rescale"), x.slot), w});
        break;
      case 11:
        known.push_back({b.add_rescale(name("sum"), x.slot, pick_width(w)), w});
        break;
      case 12:
      case 13:
        known.push_back({b.rotate(name("rotate"), x.slot), w});
        break;
      case 14:
      case 15:
        known.push_back({b.attend(name("attend"), x.slot, pick_width(w), pick_width(w)), w});
        break;
    }
  }
  const std::size_t first_result = states.size();
  for (const Known& state : states) {
    std::vector<int> fit;
    for (std::size_t i = first_result; i < known.size(); ++i) {
      if (known[i].width == state.width) fit.push_back(known[i].slot);
    }
    if (fit.empty()) {
      const Known x = known[random.in(static_cast<std::int64_t>(first_result),
                                      static_cast<std::int64_t>(known.size()) - 1)];
      fit.push_back(b.matmul(name("matmul"), x.slot,
                             b.matrix(name("W"), TensorSpec::kUnstacked, state.width, x.width), 64));
    }
    b.set_state(state.slot, fit[random.in(0, static_cast<std::int64_t>(fit.size()) - 1)]);
  }
  const Known last = known.back();
  // Now and then tied to the embedding, which is tensor 0.
  if (last.width == dim && random.chance(40)) {
    return b.finish(b.matmul("logits", last.slot, 0, random.in(1, 400)));
  }
  return b.finish(b.matmul("logits", last.slot, b.matrix("head", TensorSpec::kUnstacked, vocab, last.width),
                           random.in(1, 400)));
}

Weights random_weights(Random& random, const Program& program) {
  Weights weights;
  for (const TensorSpec& tensor : program.tensors) {
    auto& values = weights.emplace_back(tensor.size());
    const bool extreme = random.chance(20);
    for (auto& value : values) {
      value = static_cast<std::int8_t>(extreme ? (random.chance(50) ? 127 : -127) : random.in(-127, 127));
    }
  }
  return weights;
}

std::vector<std::int8_t> random_states(Random& random, const Program& program, std::uint32_t members) {
  const auto width = static_cast<std::size_t>(program.state_width());
  std::vector<std::int8_t> states(members * width);
  for (auto& value : states) value = static_cast<std::int8_t>(random.in(-127, 127));
  std::size_t count_place = 0;
  for (const State& state : program.states) count_place += program.slots[state.read].width;
  for (std::uint32_t m = 0; m < members && program.window > 0; ++m) {
    if (random.chance(90)) write_count(random.in(0, program.window), states.data() + m * width + count_place);
  }
  return states;
}

std::vector<std::uint16_t> random_text(Random& random, std::size_t count, std::int64_t vocab) {
  std::vector<std::uint16_t> text(count);
  for (auto& token : text)
    token = static_cast<std::uint16_t>(random.chance(10) ? 0 : random.in(0, vocab - 1));
  return text;
}

}  // namespace clutch::testing
