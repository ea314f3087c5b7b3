// The interface to whatever evaluates programs: coarse, called a few times per step. A backend holds the
// weights and the members' states where it likes and computes as it likes, but every number that leaves it
// equals the reference interpreter's, bit for bit. A failure leaves it fit only to be destroyed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "exact/rules.h"
#include "program/program.h"
#include "program/verify.h"

namespace clutch {

// States of a number of members, kept where the backend computes. Made zero.
class States {
 public:
  virtual ~States() = default;
  // To and from the host: [members][Program::state_width()], the program's states in order.
  virtual Status read(std::span<std::int8_t> out) const = 0;
  virtual Status write(std::span<const std::int8_t> in) = 0;
};

// The noise of one evaluation or update.
struct NoiseSource {
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  std::uint32_t first_pair = 0;  // of the shard; member m belongs to pair first_pair + m / 2, even m is
                                 // plus; so there is an even number of members
};

// Evaluates `members` over `length` tokens each.
struct EvaluateRequest {
  std::optional<NoiseSource> noise;          // without: every member sees the plain weights
  std::uint32_t length = 0;                  // T, tokens to predict per member
  std::span<const std::uint16_t> text;       // [streams][length + 1]: inputs, and one more as the last target
  std::span<const std::uint32_t> stream_of;  // [members]
  States* states = nullptr;  // of as many members; read and replaced. Null: all begin from zeros, and what
                             // they end with is dropped

  std::uint32_t members() const { return static_cast<std::uint32_t>(stream_of.size()); }
};

struct EvaluateResult {
  std::span<std::int64_t> losses;  // [members], sums over the window in units of 2^-20 bit
  std::span<std::int8_t> logits;   // empty, or [members][length][vocab]
};

// What a rule remembers: for each of its state tensors a word per weight. Empty stands for zeros.
using RuleState = std::vector<Words>;

// A rule (exact/rules.h) and its memory.
struct RuleMemory {
  exact::Rule rule = exact::Rule::threshold;
  RuleState state = {};
};

// Folds a population into the weights by the rule that was loaded.
struct UpdateRequest {
  NoiseSource noise;                     // first_pair is 0: an update sees the whole population
  std::span<const std::int8_t> fitness;  // [pairs]
  exact::RuleStep matrix, vector;        // the rule's constants for matrices and for vectors
};

struct UpdateResult {
  std::uint64_t moved = 0;   // elements that changed
  std::uint64_t digest = 0;  // of the weights afterwards: digest() of program.h
};

// Training, as far as its memory goes.
struct Workload {
  NoiseShape noise = {};
  exact::Rule rule = exact::Rule::threshold;
  std::uint32_t members = 2;              // that are evaluated at a time; even
  std::uint32_t pairs = 1;                // of the whole population, which an update sees
  std::uint32_t streams = 1, length = 1;  // of an evaluation's text
  bool carries = false;                   // members keep their states from one evaluation to the next
};

// What will be taken of one memory, by what it is for.
struct MemoryPart {
  std::string what;  // "weights"
  std::int64_t bytes = 0;
};
struct MemoryPlan {
  std::string place;                 // a device: "cuda:0". Empty: the machine's own memory
  std::int64_t available_bytes = 0;  // of a device's. The machine's is not the backend's to know
  std::vector<MemoryPart> parts;

  std::int64_t total() const {
    std::int64_t sum = 0;
    for (const MemoryPart& part : parts) sum += part.bytes;
    return sum;
  }
};

// Receives one slot of one member: (token, instruction, values [width of its dst]).
using TraceSink = std::function<void(std::uint32_t, std::uint32_t, std::span<const std::int8_t>)>;

class Backend {
 public:
  virtual ~Backend() = default;

  // As the user would ask for it, most precise: "cpu:scalar".
  virtual std::string name() const = 0;

  // What it will take to train a program that verify() accepts, a plan for each memory it uses, on the safe
  // side; or what is in the way of running it at all. That there is as much is the caller's to check.
  virtual Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const = 0;
  // Whether it can run such a program; if not, what is in the way.
  Status supports(const Program& program, const NoiseShape& noise) const {
    return plan(program, {.noise = noise}).status();
  }

  // Takes a program, which must outlive it, its weights, and the rule that will update them. Replaces what
  // was loaded; earlier States are void.
  virtual Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
                      const RuleMemory& memory) = 0;
  Status load(const Program& program, const NoiseShape& noise, const Weights& weights) {
    return load(program, noise, weights, {});
  }

  virtual Result<std::unique_ptr<States>> new_states(std::uint32_t members) = 0;

  // Aborts where the request is none: an odd number of members with noise, streams that the text does not
  // have, losses for other members.
  Status evaluate(const EvaluateRequest& request, const EvaluateResult& result) {
    check_request(request, result);
    return do_evaluate(request, result);
  }

  virtual Result<UpdateResult> update(const UpdateRequest& request) = 0;

  // Copies the weights to the host, and what the rule remembers where `state` is given.
  virtual Status read_weights(Weights& out, RuleState* state) const = 0;
  Status read_weights(Weights& out) const { return read_weights(out, nullptr); }

  // Evaluates as evaluate() would and hands over every slot that instructions write of member `member`, token
  // by token (tokens in order; instructions of a token in program order). States are left as they were.
  virtual Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) = 0;

 protected:
  // evaluate(), of a request that is one.
  virtual Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) = 0;

 private:
  static void check_request(const EvaluateRequest& request, const EvaluateResult& result);
};

// `memory.state`, or zeros of its shape. A state of another shape, or beyond the rule's limits, is a broken
// invariant: files are checked where they are read.
RuleState whole_rule_state(const Program& program, const RuleMemory& memory);

}  // namespace clutch
