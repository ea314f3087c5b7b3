#include "backend/cpu/schedule.h"

#include <algorithm>
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

std::vector<Group> make_groups(const Program& program) {
  Graph graph(program);
  const int instructions = static_cast<int>(program.instructions.size());
  std::vector<Group> groups;
  for (std::vector<int>& component : graph.components()) {
    const Order order = order_of(program, component);
    // Within a loop a token's states are read first, then its instructions run in program order.
    std::sort(component.begin(), component.end(),
              [&](int a, int b) { return std::pair(a < instructions, a) < std::pair(b < instructions, b); });
    if (order == Order::kTokenByToken || groups.empty() || groups.back().order != order) {
      groups.push_back({order, {}});
    }
    for (const int index : component) groups.back().nodes.push_back(graph.node(index));
  }
  return groups;
}

int written_slot(const Program& program, const Node& node) {
  return node.instruction != kNothing ? program.instructions[node.instruction].dst
                                      : program.states[node.state].read;
}

// The nodes between which each slot must keep its place, by slot: from the node that writes it to its last
// reader, or, in a group whose nodes take turns, from the group's first node to its last.
std::vector<Lifetime> lifetimes(const Program& program, const std::vector<Group>& groups) {
  int positions = 0;
  std::vector<Lifetime> alive;
  for (const Slot& slot : program.slots) alive.push_back({0, 0, padded(slot.width)});
  for (const Group& group : groups) {
    const int begin = positions, end = positions + static_cast<int>(group.nodes.size()) - 1;
    for (const Node& node : group.nodes) {
      const bool turns = group.order != Order::kNodeByNode;
      const int from = turns ? begin : positions, to = turns ? end : positions;
      const auto keep = [&](int slot) { alive[slot].last = std::max(alive[slot].last, to); };
      const int slot = written_slot(program, node);
      alive[slot].first = from;
      keep(slot);
      if (node.instruction != kNothing) {
        for (const int in : program.instructions[node.instruction].in) {
          if (in != kNothing) keep(in);
        }
      } else {
        keep(program.states[node.state].write);
      }
      ++positions;
    }
  }
  alive[program.output].last = positions;  // the logits are taken at the end of the chunk
  return alive;
}

}  // namespace

Schedule make_schedule(const Program& program) {
  Schedule schedule{make_groups(program), {}, 0};
  Places places = place(lifetimes(program, schedule.groups));
  schedule.offsets = std::move(places.offsets);
  schedule.row_bytes = places.bytes;
  return schedule;
}

}  // namespace clutch::cpu
