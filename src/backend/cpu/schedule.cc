#include "backend/cpu/schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "program/places.h"

namespace clutch::cpu {
namespace {

// The graph of nodes: instructions first, then states; edges from a value to its readers.
class Graph {
 public:
  explicit Graph(const Program& program) : program_(program) {
    const int instructions = static_cast<int>(program.instructions.size());
    count_ = instructions + static_cast<int>(program.states.size());
    std::vector<int> writer(program.slots.size(), kNothing);  // node by slot
    for (int i = 0; i < instructions; ++i) writer[program.instructions[i].dst] = i;
    for (std::size_t s = 0; s < program.states.size(); ++s) {
      writer[program.states[s].read] = instructions + static_cast<int>(s);
    }
    readers_.resize(count_);
    for (int i = 0; i < instructions; ++i) {
      for (const int slot : program.instructions[i].in) {
        if (slot != kNothing) readers_[writer[slot]].push_back(i);
      }
    }
    for (std::size_t s = 0; s < program.states.size(); ++s) {
      readers_[writer[program.states[s].write]].push_back(instructions + static_cast<int>(s));
    }
  }

  // Strongly connected components in an order in which values come before their readers (Tarjan, SIAM J.
  // Comput. 1972, finds them in the reverse).
  std::vector<std::vector<int>> components() {
    order_.assign(count_, 0);
    low_.assign(count_, 0);
    on_stack_.assign(count_, false);
    for (int node = 0; node < count_; ++node) {
      if (order_[node] == 0) visit(node);
    }
    std::reverse(found_.begin(), found_.end());
    return std::move(found_);
  }

  Node node(int index) const {
    const int instructions = static_cast<int>(program_.instructions.size());
    return index < instructions ? Node{.instruction = index} : Node{.state = index - instructions};
  }

 private:
  // An explicit stack, since the depth is the program's length.
  void visit(int root) {
    std::vector<std::pair<int, std::size_t>> path;  // node, next reader to look at
    const auto enter = [&](int node) {
      order_[node] = low_[node] = ++clock_;
      stack_.push_back(node);
      on_stack_[node] = true;
      path.emplace_back(node, 0);
    };
    enter(root);
    while (!path.empty()) {
      const int node = path.back().first;
      if (path.back().second < readers_[node].size()) {
        const int reader = readers_[node][path.back().second++];
        if (order_[reader] == 0) {
          enter(reader);
        } else if (on_stack_[reader]) {
          low_[node] = std::min(low_[node], order_[reader]);
        }
        continue;
      }
      path.pop_back();
      if (!path.empty()) low_[path.back().first] = std::min(low_[path.back().first], low_[node]);
      if (low_[node] == order_[node]) close_component(node);
    }
  }

  void close_component(int root) {
    std::vector<int> members;
    for (int node = kNothing; node != root;) {
      node = stack_.back();
      stack_.pop_back();
      on_stack_[node] = false;
      members.push_back(node);
    }
    found_.push_back(std::move(members));
  }

  const Program& program_;
  int count_ = 0;
  std::vector<std::vector<int>> readers_;
  std::vector<int> order_, low_, stack_;
  std::vector<bool> on_stack_;
  int clock_ = 0;
  std::vector<std::vector<int>> found_;
};

Order order_of(const Program& program, const std::vector<int>& component) {
  if (component.size() > 1) return Order::kTokenByToken;  // a state is never its own writer
  const auto node = static_cast<std::size_t>(component.front());
  const bool row_by_row = node < program.instructions.size() && program.instructions[node].op != Op::matmul;
  return row_by_row ? Order::kMemberByMember : Order::kNodeByNode;
}

// By instruction, whether its result depends on nothing but which token it is: no state, no position. All or
// none of them where no product is among those that do.
std::vector<bool> find_by_token(const Program& program) {
  std::vector<bool> slots(program.slots.size(), false), found(program.instructions.size(), false);
  bool products = false;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    const bool by_token = instruction.op != Op::rotate && instruction.op != Op::attend &&
                          std::all_of(instruction.in.begin(), instruction.in.end(),
                                      [&](int slot) { return slot == kNothing || slots[slot]; });
    slots[instruction.dst] = found[i] = by_token;
    products = products || (by_token && instruction.op == Op::matmul);
  }
  if (!products) found.assign(found.size(), false);
  return found;
}

// `by_token`: of instructions. Their groups come first, since nothing else is read there.
std::vector<Group> make_groups(const Program& program, const std::vector<bool>& by_token) {
  Graph graph(program);
  const int instructions = static_cast<int>(program.instructions.size());
  const auto goes_by_token = [&](const std::vector<int>& component) {
    return component.front() < instructions && by_token[component.front()];
  };
  std::vector<std::vector<int>> components = graph.components();
  std::stable_partition(components.begin(), components.end(), goes_by_token);
  std::vector<Group> groups;
  for (std::vector<int>& component : components) {
    const Order order = order_of(program, component);
    const bool token = goes_by_token(component);
    // Within a loop a token's states are read first, then its instructions run in program order.
    std::sort(component.begin(), component.end(),
              [&](int a, int b) { return std::pair(a < instructions, a) < std::pair(b < instructions, b); });
    if (order == Order::kTokenByToken || groups.empty() || groups.back().order != order ||
        groups.back().by_token != token) {
      groups.push_back({order, token, {}});
    }
    for (const int index : component) groups.back().nodes.push_back(graph.node(index));
  }
  return groups;
}

// How often each slot is read: by instructions, as a state's next value, as the output.
std::vector<int> count_readers(const Program& program) {
  std::vector<int> readers(program.slots.size(), 0);
  for (const Instruction& instruction : program.instructions) {
    for (const int slot : instruction.in) {
      if (slot != kNothing) ++readers[slot];
    }
  }
  for (const State& state : program.states) ++readers[state.write];
  ++readers[program.output];
  return readers;
}

// The instruction that, with `index` after it, is one of the pairs of Fusion; or kNothing.
int partner_before(const Program& program, int index) {
  const Instruction& instruction = program.instructions[index];
  const auto writer = [&](int slot, Op op) {
    for (int i = 0; i < static_cast<int>(program.instructions.size()); ++i) {
      if (program.instructions[i].dst == slot && program.instructions[i].op == op) return i;
    }
    return kNothing;
  };
  switch (instruction.op) {
    case Op::bias:
      return writer(instruction.in[0], Op::norm);
    case Op::gelu:
      return writer(instruction.in[0], Op::bias);
    case Op::add_rescale:
      return writer(instruction.in[1], Op::bias);
    default:
      return kNothing;
  }
}

// Each pair becomes one node, where its second one stands. A bias between a norm and a gelu goes with the
// norm.
void fuse_biases(const Program& program, std::vector<Group>& groups) {
  const std::vector<int> readers = count_readers(program);
  std::vector<bool> taken(program.instructions.size(), false), first(program.instructions.size(), false);
  std::vector<int> partner(program.instructions.size(), kNothing);
  for (int i = 0; i < static_cast<int>(program.instructions.size()); ++i) {
    const int before = partner_before(program, i);
    if (before == kNothing || taken[before] || readers[program.instructions[before].dst] != 1) continue;
    taken[i] = taken[before] = first[before] = true;
    partner[i] = before;
  }
  for (Group& group : groups) {
    std::erase_if(group.nodes,
                  [&](const Node& node) { return node.instruction != kNothing && first[node.instruction]; });
    for (Node& node : group.nodes) {
      if (node.instruction == kNothing || partner[node.instruction] == kNothing) continue;
      node.bias = partner[node.instruction];
      if (program.instructions[node.instruction].op == Op::bias) std::swap(node.instruction, node.bias);
    }
  }
  std::erase_if(groups, [](const Group& group) { return group.nodes.empty(); });
}

// The same for an add_bias and the gate or mix right behind it.
void fuse_sums(const Program& program, std::vector<Group>& groups) {
  const std::vector<int> readers = count_readers(program);
  const auto fuses = [&](const Node& before, const Node& node) {
    if (before.instruction == kNothing || node.instruction == kNothing) return false;
    const Instruction &sum = program.instructions[before.instruction],
                      &of = program.instructions[node.instruction];
    if (sum.op != Op::add_bias) return false;
    if (of.op == Op::gate) return of.in[0] == sum.dst && of.in[1] != sum.dst;
    return of.op == Op::mix && of.in[2] == sum.dst && readers[sum.dst] == 1;
  };
  for (Group& group : groups) {
    for (std::size_t i = 1; i < group.nodes.size(); ++i) {
      if (!fuses(group.nodes[i - 1], group.nodes[i])) continue;
      group.nodes[i].bias = group.nodes[i - 1].instruction;
      group.nodes.erase(group.nodes.begin() + static_cast<std::ptrdiff_t>(--i));
    }
  }
}

// See Schedule.
std::vector<int> find_kept(const Program& program, const std::vector<Group>& groups) {
  std::vector<bool> by_token(program.slots.size(), false), read(program.slots.size(), false);
  for (const Group& group : groups) {
    for (const Node& node : group.nodes) {
      const Node::Written written = node.writes(program);
      for (const int slot : {written.out, written.sum}) {
        if (slot != kNothing) by_token[slot] = group.by_token;
      }
      if (group.by_token) continue;
      for (const int slot : node.reads(program)) read[slot] = true;
    }
  }
  read[program.output] = true;
  std::vector<int> kept;
  for (int slot = 0; slot < static_cast<int>(program.slots.size()); ++slot) {
    if (by_token[slot] && read[slot]) kept.push_back(slot);
  }
  return kept;
}

std::int64_t count_multiplies_by_token(const Program& program, const std::vector<Group>& groups) {
  std::int64_t count = 0;
  for (const Group& group : groups) {
    for (const Node& node : group.nodes) {
      if (!group.by_token || program.instructions[node.instruction].op != Op::matmul) continue;
      const TensorSpec& tensor = program.tensors[program.instructions[node.instruction].tensor];
      count += padded(tensor.rows) * padded(tensor.cols);
    }
  }
  return count;
}

// By slot, the slot whose memory it has: its own, or that of an operand which nothing else reads, where a
// kernel goes element by element and so may write where it reads.
std::vector<int> find_homes(const Program& program, const std::vector<Group>& groups) {
  std::vector<int> readers(program.slots.size(), 0), homes(program.slots.size());
  std::iota(homes.begin(), homes.end(), 0);
  ++readers[program.output];
  for (const Group& group : groups) {
    for (const Node& node : group.nodes) {
      for (const int slot : node.reads(program)) ++readers[slot];
    }
  }
  for (const Group& group : groups) {
    for (const Node& node : group.nodes) {
      if (node.instruction == kNothing) continue;
      const Op op = program.instructions[node.instruction].op;
      if (op == Op::matmul || op == Op::attend) continue;
      std::vector<int> given_up;
      for (const int slot : node.reads(program)) {
        if (readers[slot] == 1) given_up.push_back(homes[slot]);
      }
      const Node::Written written = node.writes(program);
      for (const int slot : {written.out, written.sum}) {
        if (slot == kNothing || given_up.empty()) break;
        homes[slot] = given_up.back();
        given_up.pop_back();
      }
    }
  }
  return homes;
}

// The nodes between which each home must keep its place, by slot: from the node that writes it to its last
// reader, or, in a group whose nodes take turns, from the group's first node to its last.
std::vector<Lifetime> lifetimes(const Program& program, const std::vector<Group>& groups,
                                const std::vector<int>& homes) {
  int positions = 0;
  std::vector<Lifetime> alive(program.slots.size());  // of 0 bytes where nothing writes
  for (const Group& group : groups) {
    const int begin = positions, end = positions + static_cast<int>(group.nodes.size()) - 1;
    for (const Node& node : group.nodes) {
      const bool turns = group.order != Order::kNodeByNode;
      const int from = turns ? begin : positions, to = turns ? end : positions;
      const auto keep = [&](int slot) {
        Lifetime& life = alive[homes[slot]];
        life.last = std::max(life.last, to);
      };
      const Node::Written written = node.writes(program);
      for (const int slot : {written.out, written.sum}) {
        if (slot == kNothing) continue;
        if (homes[slot] == slot) alive[slot] = {from, from, padded(program.slots[slot].width)};
        keep(slot);
      }
      for (const int in : node.reads(program)) keep(in);
      ++positions;
    }
  }
  alive[homes[program.output]].last = positions;  // the logits are taken at the end of the chunk
  return alive;
}

}  // namespace

// Of a pair the second one's result, with gate the sum too; and what the two read but for the slot between
// them.
Node::Written Node::writes(const Program& program) const {
  if (instruction == kNothing) return {program.states[state].read};
  const Instruction& done = program.instructions[instruction];
  if (bias == kNothing) return {done.dst};
  const int biased = program.instructions[bias].dst;
  if (done.op == Op::norm) return {biased};
  return {done.dst, done.op == Op::gate ? biased : kNothing};
}

std::vector<int> Node::reads(const Program& program) const {
  if (instruction == kNothing) return {program.states[state].write};
  std::vector<int> slots;
  for (const int index : {instruction, bias}) {
    if (index == kNothing) continue;
    for (const int in : program.instructions[index].in) {
      const bool between = bias != kNothing && (in == program.instructions[instruction].dst ||
                                                in == program.instructions[bias].dst);
      if (in != kNothing && !between) slots.push_back(in);
    }
  }
  return slots;
}

Schedule make_schedule(const Program& program, Shortcuts shortcuts) {
  Schedule schedule;
  if (shortcuts == Shortcuts::kNone) {
    schedule.groups = make_groups(program, std::vector<bool>(program.instructions.size(), false));
  } else {
    schedule.groups = make_groups(program, find_by_token(program));
    fuse_biases(program, schedule.groups);
    fuse_sums(program, schedule.groups);
  }
  schedule.token_multiplies = count_multiplies_by_token(program, schedule.groups);
  schedule.kept = find_kept(program, schedule.groups);
  for (const int slot : schedule.kept) schedule.kept_bytes += padded(program.slots[slot].width);
  const std::vector<int> homes = find_homes(program, schedule.groups);
  const Places places = place(lifetimes(program, schedule.groups, homes));
  for (const int home : homes) schedule.offsets.push_back(places.offsets[home]);
  schedule.row_bytes = places.bytes;
  schedule.loops = std::any_of(schedule.groups.begin(), schedule.groups.end(),
                               [](const Group& group) { return group.order == Order::kTokenByToken; });
  return schedule;
}

}  // namespace clutch::cpu
