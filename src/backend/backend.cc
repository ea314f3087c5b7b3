// What all backends may rely on in what they are asked and given.
#include "backend/backend.h"

#include "base/check.h"

namespace clutch {

void Backend::check_request(const EvaluateRequest& request, const EvaluateResult& result) {
  if (request.noise) check_equal(request.members() % 2, 0U, "members beyond whole pairs, with noise");
  check_equal(result.losses.size(), request.stream_of.size(), "losses asked for, and members");
  const std::size_t row = std::size_t{request.length} + 1;
  check_equal(request.text.size() % row, std::size_t{0}, "tokens of the text beyond whole streams");
  const std::size_t streams = request.text.size() / row;
  for (const std::uint32_t stream : request.stream_of) {
    check(stream < streams, "a member reads a stream that the text does not have");
  }
}

RuleState whole_rule_state(const Program& program, const RuleMemory& memory) {
  const auto count = static_cast<std::size_t>(exact::entry(memory.rule).state_count());
  if (!memory.state.empty()) check_equal(memory.state.size(), count, "state tensors of the rule");
  RuleState state = memory.state;
  state.resize(count);
  for (std::size_t k = 0; k < count; ++k) {
    state[k].resize(program.tensors.size());
    for (std::size_t t = 0; t < program.tensors.size(); ++t) {
      const auto size = static_cast<std::size_t>(program.tensors[t].size());
      if (memory.state.empty()) state[k][t].resize(size);
      check_equal(state[k][t].size(), size, "elements of a rule's state");
      const exact::RuleStateEntry& limits = exact::entry(memory.rule).states[k];
      for (const std::int32_t word : state[k][t])
        check(word >= limits.least && word <= limits.most, "a rule's state is in range");
    }
  }
  return state;
}

}  // namespace clutch
