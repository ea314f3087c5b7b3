// Two backends through the same steps, compared after each call: losses, logits, states, weights, what the
// rule remembers, and digests. The first difference is traced to the instruction, or the weight, it comes
// from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parity/case.h"
#include "parity/trace.h"

namespace clutch::parity {

// Where two backends part.
struct Difference {
  enum class Kind : std::uint8_t {
    kInstruction,  // an instruction's result differs, in trace()
    kResults,      // losses, logits or states differ, though every instruction's result is the same
    kUpdate,       // a weight, or what the rule remembers of it, or moved or digest
  };
  Kind kind = Kind::kInstruction;
  std::uint64_t step = 0;
  std::uint32_t member = 0;                  // of the evaluation; kInstruction and kResults
  std::uint32_t token = 0, instruction = 0;  // kInstruction
  int tensor = kNothing;                     // kUpdate, where a weight or its memory differs
  std::int64_t element = 0;                  // of the instruction's result or of the tensor
  std::int64_t a = 0, b = 0;                 // the two values
  std::string text;                          // all of it for a person, in lines
  Case repeat;                               // one step that shows it again, as small as it could be made
};

// How much was compared.
struct Compared {
  std::uint64_t losses = 0, logits = 0, states = 0, traced = 0, updates = 0, weights = 0;
  std::uint64_t logits_left_out = 0;  // where they would take more than kMaxLogits
  std::uint64_t digest = 0;           // of the weights at the end, where an update was made
};
constexpr std::uint64_t kMaxLogits = std::uint64_t{1} << 26;  // of one evaluation, in bytes

std::string describe(const Compared& compared);

class Lockstep {
 public:
  // All three must outlive it. After a difference the backends are fit only to be destroyed.
  // Steps are counted from `first_step`, for messages.
  Lockstep(Backend& a, Backend& b, const Start& start, std::uint64_t first_step = 0)
      : a_(a), b_(b), start_(start), step_(first_step) {}

  // Loads both. Fails where one cannot run the program.
  Status load();

  // Both do the same. The first difference, or nothing; fails where a backend fails. `traced`, where given,
  // is a member whose trace is compared too.
  Result<std::optional<Difference>> evaluate(const Evaluation& evaluation,
                                             std::optional<std::uint32_t> traced = {});
  Result<std::optional<Difference>> update(const Update& update);
  void next_step() { ++step_; }

  const std::vector<std::int64_t>& losses() const { return losses_; }  // of the last evaluation
  const Compared& compared() const { return compared_; }

 private:
  struct Results;  // of an evaluation
  struct Updated;  // what an update left
  Result<Results> evaluate_one(Backend& backend, States* states, const Evaluation& evaluation, bool logits);
  Result<Difference> locate(const Evaluation& evaluation, std::uint32_t member, std::uint32_t length,
                            const Results& a, const Results& b);
  Result<std::optional<Difference>> compare_trace(const Evaluation& evaluation, std::uint32_t member);
  Status add_instruction(const Traced& what, Difference& d);
  void add_results(const Evaluation& evaluation, const Results& a, const Results& b, Difference& d) const;
  void describe_update(const Update& update, const Updated& a, const Updated& b, Difference& d) const;
  Case reduced(const Evaluation& evaluation, std::uint32_t member, std::uint32_t length) const;
  Case whole(const Step& step) const;
  Result<bool> still_differs(const Case& small, std::uint32_t member);
  std::string names() const { return a_.name() + " and " + b_.name(); }

  Backend &a_, &b_;
  const Start& start_;
  std::unique_ptr<States> states_a_, states_b_;
  std::vector<std::int8_t> states_;  // of both, before the present evaluation
  Weights weights_;                  // of both, before the present step
  RuleState remembered_;
  std::vector<std::int64_t> losses_;
  std::uint64_t step_;
  bool only_whether_ = false;  // a difference need not be located
  Compared compared_;
};

// A whole case. Compares the trace of one member of each evaluation too, another each time.
struct Outcome {
  Compared compared;
  std::optional<Difference> difference;
};
Result<Outcome> run_case(Backend& a, Backend& b, const Case& c);

}  // namespace clutch::parity
