// Evaluates a tile: a few members over a whole window, chunk of tokens by chunk, layer by layer. The rows of
// one kernel call are the tokens of a chunk of all members or, between a state and its next value, one token
// of all members. What depends on the token alone is computed beforehand, once for each distinct token of a
// stretch of chunks. One TileEvaluator serves one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/loaded.h"

namespace clutch::cpu {

// How much a tile takes on at a time; no choice of these changes a result.
struct TileShape {
  std::uint32_t members = 1;
  std::uint32_t chunk = 1;  // tokens
  // Tokens, a multiple of a chunk, whose distinct ones are found: what depends on the token alone is
  // computed once for each of them and then kept.
  std::uint32_t stretch = 1;

  bool operator==(const TileShape&) const = default;
};

// Where a traced member's slots are kept: by instruction, [length][width not padded].
using TraceBuffer = std::vector<std::vector<std::int8_t>>;

class TileEvaluator {
 public:
  // For up to shape.members members and shape.chunk tokens at a time; the schedule, the model's or another of
  // its program, must outlive this.
  TileEvaluator(const LoadedModel& model, const Schedule& schedule, const TileShape& shape);

  // Evaluates members [first, first + count) of the request. `states` [count][state_width] is read and
  // replaced, or null for zeros to begin with; `trace`, if there, receives the slots of member `traced`
  // (counted from first), all of them where the schedule fuses nothing.
  void run(const EvaluateRequest& request, const EvaluateResult& result, std::uint32_t first,
           std::uint32_t count, std::int8_t* states, TraceBuffer* trace = nullptr, std::uint32_t traced = 0);

 private:
  void make_noise();
  void make_vectors(std::uint32_t member);
  std::int8_t* zero_states();
  void count_positions();
  // What of a chunk one call works on.
  struct Part {
    std::uint32_t member, members, token, tokens;
  };
  // Of a member's text in a stretch.
  struct Repeats {
    std::uint32_t count;             // distinct tokens
    const std::uint16_t* distinct;  // [kept_rows]
    const std::uint16_t* place_of;   // [tokens]: where among them each is
  };
  void run_stretch(std::uint32_t begin, std::uint32_t tokens);
  bool find_distinct(std::uint32_t tokens);
  Repeats find_repeats(std::uint32_t m, std::uint32_t tokens);
  void run_distinct(std::uint32_t member, std::uint32_t members);
  void bring_rows(std::uint32_t from);
  void run_groups(bool by_token, const Part& part);
  void run_node(const Node& node, const Part& part);
  void run_instruction(const Node& node, const Part& part);
  void run_sum(const Node& node, const Part& part);
  void run_matmul(int index, const Part& part);
  void run_attend(int index, const Part& part);
  void run_embed(const Instruction& instruction, const Part& part);
  void read_state(int state, const Part& part);
  void save_state(int state);
  void finish_chunk();
  void keep_trace(int index, const Part& part);

  std::int64_t width(int slot) const { return padded(model_.program.slots[slot].width); }
  std::int8_t* row(int slot, std::uint32_t m, std::uint32_t t) {
    return slots_.data() + schedule_.offsets[slot] * capacity_ + (m * pitch_ + t) * width(slot);
  }
  RowsIn in(int slot, const Part& p) {
    return {row(slot, p.member, p.token), pitch_ * width(slot), width(slot)};
  }
  RowsOut out(int slot, const Part& p) {
    return {row(slot, p.member, p.token), pitch_ * width(slot), width(slot)};
  }
  RowsIn vector(int tensor, std::uint32_t member) const;
  const std::uint16_t* text(std::uint32_t m) const;    // from the chunk's first token on
  const std::uint16_t* tokens(std::uint32_t m) const;  // the same, or those that rows are computed for once
  std::int8_t* kept_row(std::size_t k, std::uint32_t m) {  // the first one
    return kept_.data() + kept_places_[k] + m * kept_rows_ * width(schedule_.kept[k]);
  }

  const LoadedModel& model_;
  const Schedule& schedule_;
  const std::int64_t pitch_;          // tokens from member to member: odd, so that members' rows of one token
                                      // do not all fall on the same sets of a cache
  const std::int64_t capacity_;       // rows
  AlignedVector<std::int8_t> slots_;  // by slot [capacity][width]
  AlignedVector<std::int8_t> noise_;  // [pairs][noise_bytes]
  AlignedVector<std::int8_t> vectors_;     // [members][vector_bytes]
  std::vector<MatrixNoise> matrix_noise_;  // [tensors][shape.members]
  std::vector<std::uint16_t> positions_;   // [members][pitch], of the chunk's tokens

  // Of a stretch.
  const std::uint32_t stretch_;
  const std::int64_t kept_rows_;           // of a member
  AlignedVector<std::int8_t> kept_;        // by kept slot [members][kept_rows][width]
  std::vector<std::int64_t> kept_places_;  // of each slot there
  std::vector<Repeats> repeats_;           // [members]; of the same text, the same
  std::vector<std::uint16_t> distinct_;   // [members][kept_rows], what they point at
  std::vector<std::uint16_t> place_of_;    // [members][stretch], the same
  std::vector<std::int32_t> found_;        // [vocab]: a token's place in a text being looked at, or kNothing

  AlignedVector<std::int8_t> own_states_;  // [members][state_width], where the request brings none
  AlignedVector<std::byte> scratch_;
  const std::uint32_t most_members_, most_tokens_;

  // Of the run in progress.
  const EvaluateRequest* request_ = nullptr;
  const EvaluateResult* result_ = nullptr;
  std::uint32_t first_ = 0, count_ = 0, begin_ = 0, chunk_ = 0;  // chunk_: tokens of this chunk
  std::int64_t distinct_from_ = kNothing;  // rows are those of distinct tokens, from this one on
  std::int8_t* states_ = nullptr;
  TraceBuffer* trace_ = nullptr;
  std::uint32_t traced_ = 0;
};

}  // namespace clutch::cpu
