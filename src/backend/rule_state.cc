#include "backend/backend.h"
#include "base/check.h"

namespace clutch {

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
