#include "backend/device/tables.h"

#include <algorithm>

#include "exact/attention.h"
#include "exact/loss.h"
#include "exact/rules.h"
#include "exact/tables.h"
#include "program/ops.h"

namespace clutch::device {
namespace {

constexpr bool is(std::uint32_t number, Op op) { return number == static_cast<std::uint32_t>(op); }
static_assert(is(kOpEmbed, Op::embed) && is(kOpMatmul, Op::matmul) && is(kOpNorm, Op::norm) &&
                  is(kOpAdd, Op::add) && is(kOpAddBias, Op::add_bias) && is(kOpGate, Op::gate) &&
                  is(kOpMix, Op::mix) && is(kOpRelu, Op::relu) && is(kOpBias, Op::bias) &&
                  is(kOpGelu, Op::gelu) && is(kOpRescale, Op::rescale) &&
                  is(kOpAddRescale, Op::add_rescale) && is(kOpRotate, Op::rotate) &&
                  is(kOpAttend, Op::attend) && kOps == kOpCount,
              "shaders know every op, by its number");

constexpr bool is(std::uint32_t number, exact::Rule rule) {
  return number == static_cast<std::uint32_t>(rule);
}
static_assert(is(kRuleThreshold, exact::Rule::threshold) && is(kRuleMomentum, exact::Rule::momentum) &&
                  is(kRuleCarry, exact::Rule::carry) && is(kRuleAdamw, exact::Rule::adamw) &&
                  kRules == std::size(exact::kRules) && exact::kMaxRuleStates == 3,
              "shaders know every rule, by its number");

static_assert(kHeadWords * 4 == exact::kHeadWidth && kMostShare * kTile == kMostLanes);
static_assert(kLog2At == kExp2At + 256 && kSoftmaxAt == kLog2At + std::size(exact::kLog2Table) &&
              kGeluAt == kSoftmaxAt + 256 && kTurnsAt == kGeluAt + std::size(exact::kGeluTable) &&
              kTableWords == kTurnsAt + 2 * exact::kMaxWindow * exact::kTurnPairs);

}  // namespace

std::vector<std::uint32_t> make_tables() {
  std::vector<std::uint32_t> words;
  for (std::uint32_t d = 0; d < 256; ++d) words.push_back(exact::exp2_negative(d));
  words.insert(words.end(), std::begin(exact::kLog2Table), std::end(exact::kLog2Table));
  for (std::int64_t d = 0; d < 256; ++d) words.push_back(exact::softmax_weight(d));
  for (int x = -exact::kClip; x <= exact::kClip; ++x) {
    words.push_back(static_cast<std::uint32_t>(std::int32_t{exact::gelu(static_cast<std::int8_t>(x))}));
  }
  for (std::int64_t position = 0; position < exact::kMaxWindow; ++position) {
    for (const exact::Turn& turn : exact::turns_of(position)) {
      words.push_back(static_cast<std::uint32_t>(turn.cosine));
      words.push_back(static_cast<std::uint32_t>(turn.sine));
    }
  }
  return words;
}

}  // namespace clutch::device
