#include "program/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "exact/attention.h"
#include "exact/loss.h"
#include "exact/noise.h"
#include "program/print.h"

namespace clutch {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 20;         // keeps every product below within 2^62
constexpr std::int64_t kMaxTensorSize = 1LL << 31;  // noise and digests index elements with 32 bits
constexpr std::int64_t kMaxTensors = 65536;         // a noise key has 16 bits for the tensor
constexpr std::int64_t kAccumulatorLimit = (1LL << 31) - 1;
constexpr std::int64_t kNoiseProduct = exact::kNoiseMax * exact::kNoiseMax;

class Verifier {
 public:
  Verifier(const Program& program, const NoiseShape& noise) : program_(program), noise_(noise) {}

  Result<std::vector<Bounds>> run() {
    CLUTCH_RETURN_IF_ERROR(check_header());
    CLUTCH_RETURN_IF_ERROR(check_tensors());
    CLUTCH_RETURN_IF_ERROR(check_slots());
    written_.assign(program_.slots.size(), false);
    for (const State& state : program_.states) written_[state.read] = true;
    std::vector<Bounds> all;
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) {
      where_ = print_instruction(program_, static_cast<int>(i));
      CLUTCH_RETURN_IF_ERROR(check_operands(program_.instructions[i]));
      CLUTCH_RETURN_IF_ERROR(check_widths(program_.instructions[i]));
      Bounds bounds = bounds_of(program_.instructions[i]);
      CLUTCH_RETURN_IF_ERROR(check_bounds(bounds));
      all.push_back(bounds);
      written_[program_.instructions[i].dst] = true;
    }
    CLUTCH_RETURN_IF_ERROR(check_results());
    return all;
  }

 private:
  Status check_header() const {
    if (noise_.rank < 1 || noise_.rank > kMaxRank) {
      return fail("--rank", fmt::format("{} is outside 1..{}", noise_.rank, kMaxRank),
                  "rank 1 is the default");
    }
    if (noise_.sigma_shift < 0 || noise_.sigma_shift > kMaxSigmaShift) {
      return fail("--sigma-shift", fmt::format("{} is outside 0..{}", noise_.sigma_shift, kMaxSigmaShift),
                  "each step up halves the perturbation; 4 is a usual value");
    }
    if (program_.vocab < 2 || program_.vocab > exact::kMaxVocab) {
      return fail("--vocab", fmt::format("{} is outside 2..{}", program_.vocab, exact::kMaxVocab),
                  "bytes have a vocabulary of 256");
    }
    if (program_.window < 0 || program_.window > exact::kMaxWindow) {
      return fail("--window", fmt::format("{} is outside 0..{}", program_.window, exact::kMaxWindow),
                  "the table of rotary positions ends there; use a shorter window");
    }
    return {};
  }

  Status check_tensors() const {
    if (static_cast<std::int64_t>(program_.tensors.size()) > kMaxTensors) {
      return fail(program_.name, fmt::format("{} tensors are over {}", program_.tensors.size(), kMaxTensors),
                  "use fewer layers");
    }
    for (const TensorSpec& tensor : program_.tensors) {
      const bool sized = tensor.rows >= 1 && tensor.rows <= kMaxWidth && tensor.cols >= 1 &&
                         tensor.cols <= kMaxWidth && tensor.size() <= kMaxTensorSize;
      const bool shaped =
          tensor.kind == TensorKind::kMatrix || (tensor.kind == TensorKind::kVector && tensor.cols == 1);
      const bool starts =
          tensor.initial == TensorSpec::kNoise || exact::absolute(tensor.initial) <= exact::kClip;
      if (!sized || !shaped || !starts) {
        return fail(tensor.label(),
                    starts ? fmt::format("impossible shape [{}][{}]", tensor.rows, tensor.cols)
                           : fmt::format("starts as {}, outside [-127, 127]", tensor.initial),
                    "choose a width of at least 1 (--dim)");
      }
    }
    return {};
  }

  Status check_slots() const {
    for (const Slot& slot : program_.slots) {
      if (slot.width < 1 || slot.width > kMaxWidth) {
        return fail("slot " + slot.name, fmt::format("impossible width {}", slot.width),
                    fmt::format("a width is 1..{}", kMaxWidth));
      }
    }
    for (const State& state : program_.states) {
      if (!is_slot(state.read)) return fail(program_.name, "a state reads no slot", "give it one");
      const auto shared = std::count_if(program_.states.begin(), program_.states.end(),
                                        [&](const State& other) { return other.read == state.read; });
      if (shared != 1) {
        return fail("state " + program_.slots[state.read].name, "shares its slot with another",
                    "give each its own");
      }
    }
    return {};
  }

  Status check_operands(const Instruction& instruction) const {
    const OpInfo& op = info(instruction.op);
    for (int i = 0; i < static_cast<int>(instruction.in.size()); ++i) {
      const int slot = instruction.in[i];
      if (i >= op.slots_read) {
        if (slot != kNothing) return fail(where_, "reads too many slots", "see docs/OPS.md");
      } else if (!is_slot(slot) || !written_[slot]) {
        return fail(where_, fmt::format("operand {} is not written before", i), "reorder the program");
      }
    }
    if (!is_slot(instruction.dst) || written_[instruction.dst]) {
      return fail(where_, "its slot is written twice", "give each instruction a slot of its own");
    }
    if ((op.tensor == TensorKind::kNone) != (instruction.tensor == kNothing)) {
      return fail(where_, "has a tensor too many or too few", "see docs/OPS.md");
    }
    if (instruction.tensor == kNothing) return {};
    if (instruction.tensor < 0 || instruction.tensor >= static_cast<int>(program_.tensors.size()) ||
        program_.tensors[instruction.tensor].kind != op.tensor) {
      return fail(where_, "its tensor is absent or of the wrong kind", "see docs/OPS.md");
    }
    return {};
  }

  Status check_widths(const Instruction& instruction) const {
    const std::int64_t out = width(instruction.dst);
    if (instruction.op == Op::embed || instruction.op == Op::matmul) {
      const TensorSpec& matrix = program_.tensors[instruction.tensor];
      const bool embed = instruction.op == Op::embed;
      const std::int64_t reads = embed ? program_.vocab : width(instruction.in[0]);
      if ((embed ? matrix.rows : matrix.cols) != reads || (embed ? matrix.cols : matrix.rows) != out) {
        return fail(where_,
                    fmt::format("widths {} -> {} do not fit the matrix [{}][{}]", reads, out, matrix.rows,
                                matrix.cols),
                    "matrices are [out][in]; an embedding is [vocab][width]");
      }
    } else {
      for (int i = 0; i < info(instruction.op).slots_read; ++i) {
        if (width(instruction.in[i]) != out)
          return fail(where_, "operands differ in width", "make them equal");
      }
      if (instruction.tensor != kNothing && program_.tensors[instruction.tensor].rows != out) {
        return fail(where_, "the vector differs in width", "make it as wide as the slot");
      }
    }
    if (info(instruction.op).attribute == Attribute::kPosition) {
      if (program_.window < 1)
        return fail(where_, "needs a window of positions", "give the program one (--window)");
      if (out % exact::kHeadWidth != 0) {
        return fail(where_, fmt::format("width {} is no multiple of a head's {}", out, exact::kHeadWidth),
                    "choose such a width (--dim)");
      }
    }
    if (instruction.divisor < 1 || instruction.divisor > (1 << 20)) {
      return fail(where_, fmt::format("divisor {} is outside 1..2^20", instruction.divisor),
                  "see docs/OPS.md");
    }
    return {};
  }

  // The proofs of NUMERICS.md, "Bounds". Slots and weights lie in [-127, 127], noise in [-47, 47].
  Bounds bounds_of(const Instruction& instruction) const {
    constexpr std::int64_t kC = exact::kClip;
    const int shift = kNoiseFractionBits + noise_.sigma_shift;
    Bounds bounds;
    switch (instruction.op) {
      case Op::embed:
        bounds.perturbation = noise_.rank * kNoiseProduct;
        bounds.accumulator = kC + exact::shift_floor(bounds.perturbation, shift) + 1;
        break;
      case Op::matmul: {
        const std::int64_t cols = program_.tensors[instruction.tensor].cols;
        bounds.projection = cols * kC * exact::kNoiseMax;
        bounds.perturbation = bounds.projection * exact::kNoiseMax * noise_.rank;
        bounds.accumulator = cols * kC * kC + exact::shift_floor(bounds.perturbation, shift) + 1;
        break;
      }
      case Op::norm:
        bounds.accumulator = std::max(kC * kC, kC * width(instruction.dst));
        break;
      case Op::add:
        bounds.accumulator = 2 * kC;
        break;
      case Op::add_bias:
        bounds.accumulator = 3 * kC;
        break;
      case Op::gate:
        bounds.accumulator = 2 * kC * kC;
        break;
      case Op::mix:
        bounds.accumulator = 4 * kC * kC;
        break;
      case Op::relu:
      case Op::gelu:
        bounds.accumulator = kC;
        break;
      case Op::bias:
        bounds.accumulator = 2 * kC;
        break;
      case Op::rescale:
        bounds.accumulator = largest_rescale(kC);
        break;
      case Op::add_rescale:
        bounds.accumulator = largest_rescale(2 * kC);
        break;
      case Op::rotate: {
        // Neither cosine nor sine is above 1, so that a turned element is within 2·127 before it is rescaled.
        const std::int64_t turned = 2 * kC << exact::kTurnFractionBits;
        bounds.accumulator = turned + (1 << (exact::kTurnFractionBits - 1));
        break;
      }
      case Op::attend: {
        const std::int64_t weights = program_.window * exact::kSoftmaxOne;
        bounds.accumulator = std::max(exact::kHeadWidth * kC * kC, weights);
        bounds.weighted = weights * kC;
        break;
      }
    }
    return bounds;
  }

  // The numerator of 127·x / m, halves up, where x and m are within `largest`.
  static std::int64_t largest_rescale(std::int64_t largest) { return 2 * exact::kClip * largest + largest; }

  Status check_bounds(const Bounds& bounds) const {
    if (bounds.accumulator > kAccumulatorLimit || bounds.projection > kAccumulatorLimit) {
      return fail(where_,
                  fmt::format("a sum could reach {}, over the accumulator's {}",
                              std::max(bounds.accumulator, bounds.projection), kAccumulatorLimit),
                  "use a smaller width or rank, or a larger sigma-shift");
    }
    return {};
  }

  Status check_results() const {
    for (const State& state : program_.states) {
      const bool by_instruction = is_slot(state.write) && written_[state.write] && !is_state(state.write);
      if (!by_instruction || width(state.write) != width(state.read)) {
        return fail("state " + program_.slots[state.read].name, "is not set by an instruction of its width",
                    "set it to an instruction's result");
      }
    }
    if (!is_slot(program_.output) || !written_[program_.output] || width(program_.output) != program_.vocab) {
      return fail(program_.name, "the output is not a written slot as wide as the vocabulary",
                  "end the program with a head [vocab][width]");
    }
    return {};
  }

  bool is_slot(int slot) const { return slot >= 0 && slot < static_cast<int>(program_.slots.size()); }
  bool is_state(int slot) const {
    for (const State& state : program_.states) {
      if (state.read == slot) return true;
    }
    return false;
  }
  std::int64_t width(int slot) const { return program_.slots[slot].width; }

  const Program& program_;
  const NoiseShape noise_;
  std::vector<bool> written_;
  std::string where_;
};

}  // namespace

Result<std::vector<Bounds>> verify(const Program& program, const NoiseShape& noise) {
  return Verifier(program, noise).run();
}

}  // namespace clutch
