#include "backend/cpu/update.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"

namespace clutch::cpu {
namespace {

// Terms (pairs times components) of one product. More are taken in turns, with votes kept in between.
constexpr std::int64_t kMostTerms = 1 << 14;
// Packed B of the tensors that are worked on together, unless one alone needs more.
constexpr std::int64_t kBatchBytes = 32 << 20;

std::int64_t bands_of(std::int64_t width) { return padded(width) / kPad; }

// A run of pairs, and one tensor's noise over them.
struct Terms {
  std::int64_t first_pair, pairs;
  int rank;
  std::int64_t count() const { return pairs * rank; }
  std::int64_t padded() const { return (count() + kTermPad - 1) / kTermPad * kTermPad; }
};

// One thread's memory.
struct Workspace {
  AlignedVector<std::int8_t> noise, more_noise;  // [padded terms][kPad]
  AlignedVector<std::byte> scratch;
};

class Update {
 public:
  Update(LoadedModel& model, const UpdateRequest& request, ThreadPool& pool)
      : model_(model), request_(request), pool_(pool), spaces_(pool.threads()) {
    for (const std::int8_t f : request.fitness)
      largest_fitness_ = std::max(largest_fitness_, static_cast<int>(exact::absolute(f)));
    pair_fitness_.assign(request.fitness.size() + kTermPad, 0);
    std::copy(request.fitness.begin(), request.fitness.end(), pair_fitness_.begin());
  }

  UpdateResult run() {
    check(request_.matrix.rule == model_.rule && request_.vector.rule == model_.rule,
          "the update is of the rule loaded");
    const int tensors = static_cast<int>(model_.program.tensors.size());
    for (int begin = 0; begin < tensors;) {
      int end = begin;
      for (std::int64_t bytes = 0; end < tensors; ++end) {
        bytes += packed_bytes(end);
        if (end > begin && bytes > kBatchBytes) break;
      }
      run_batch(begin, end);
      begin = end;
    }
    return {moved_, digest_};
  }

 private:
  struct Task {
    int tensor;
    std::int64_t band;
  };

  // Nothing is beyond the largest 32-bit vote; a negative threshold is met by every vote but none moves at 0.
  static std::int32_t threshold(std::int64_t asked) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(asked, 0, INT32_MAX));
  }
  // Of the weights of a tensor from `first` on.
  RuleRows rule_rows(const exact::RuleStep& step, int tensor, std::int64_t first) {
    RuleRows rows{.step = &step, .state = {}};
    for (std::size_t k = 0; k < model_.rule_state.size(); ++k)
      rows.state[k] = model_.rule_state[k][tensor].data() + first;
    return rows;
  }
  const TensorSpec& spec(int tensor) const { return model_.program.tensors[tensor]; }
  bool is_matrix(int tensor) const { return spec(tensor).kind == TensorKind::kMatrix; }
  std::int64_t pairs() const { return static_cast<std::int64_t>(request_.fitness.size()); }
  std::int64_t pairs_at_a_time() const { return std::max<std::int64_t>(1, kMostTerms / model_.shape.rank); }
  std::int64_t packed_bytes(int tensor) const {
    if (!is_matrix(tensor)) return 0;
    const Terms terms{0, std::min(pairs(), pairs_at_a_time()), model_.shape.rank};
    return static_cast<std::int64_t>(model_.kernels.packed_bytes(padded(spec(tensor).cols), terms.padded()));
  }

  void run_batch(int begin, int end) {
    std::vector<Task> columns, rows;
    for (int t = begin; t < end; ++t) {
      for (std::int64_t b = 0; is_matrix(t) && b < bands_of(spec(t).cols); ++b) columns.push_back({t, b});
      for (std::int64_t b = 0; b < bands_of(spec(t).rows); ++b) rows.push_back({t, b});
    }
    packed_b_.resize(model_.program.tensors.size());
    sums_.resize(model_.program.tensors.size());
    for (int t = begin; t < end; ++t) packed_b_[t].resize(packed_bytes(t));
    for (std::int64_t first = 0; first < pairs(); first += pairs_at_a_time()) {
      const Terms terms{first, std::min(pairs_at_a_time(), pairs() - first), model_.shape.rank};
      const bool last = first + terms.pairs == pairs();
      fitness_.assign(terms.padded(), 0);
      for (std::int64_t term = 0; term < terms.count(); ++term)
        fitness_[term] = request_.fitness[first + term / terms.rank];
      for (int t = begin; t < end; ++t) {
        if (is_matrix(t) && (first > 0 || !last))
          sums_[t].resize(padded(spec(t).rows) * padded(spec(t).cols));
      }
      pool_.run(static_cast<int>(columns.size()),
                [&](int i, int thread) { pack_columns(columns[i], terms, spaces_[thread]); });
      pool_.run(static_cast<int>(rows.size()), [&](int i, int thread) {
        const bool matrix = is_matrix(rows[i].tensor);
        if (matrix) vote_matrix(rows[i], terms, last, spaces_[thread]);
        if (!matrix && last) vote_vector(rows[i], spaces_[thread]);
        if (last) finish(rows[i]);
      });
    }
    for (int t = begin; t < end; ++t) {
      packed_b_[t] = {};
      sums_[t] = {};
    }
  }

  exact::NoiseKey key(int tensor, exact::NoiseRole role, std::int64_t pair, int component) const {
    return {.seed = request_.noise.seed,
            .epoch = request_.noise.epoch,
            .pair = static_cast<std::uint32_t>(pair),
            .tensor = static_cast<std::uint16_t>(tensor),
            .component = static_cast<std::uint8_t>(component),
            .role = role};
  }

  // Values [band · kPad, ...) of `width` of every term: out [padded terms][kPad], zeros beyond.
  void fill(const Task& task, exact::NoiseRole role, std::int64_t width, const Terms& terms,
            AlignedVector<std::int8_t>& out) const {
    out.resize(std::max<std::size_t>(out.size(), terms.padded() * kPad));
    for (int j = 0; j < terms.rank; ++j) {
      model_.kernels.fill_pairs(
          {.key = key(task.tensor, role, terms.first_pair, j),
           .first = static_cast<std::uint32_t>(task.band * kPad),
           .count = static_cast<std::uint32_t>(std::min(kPad, width - task.band * kPad)),
           .pairs = terms.pairs,
           .out = out.data() + j * kPad,
           .step = terms.rank * kPad});
    }
    std::fill(out.begin() + terms.count() * kPad, out.begin() + terms.padded() * kPad, std::int8_t{0});
  }

  void pack_columns(const Task& task, const Terms& terms, Workspace& space) {
    fill(task, exact::NoiseRole::kB, spec(task.tensor).cols, terms, space.noise);
    const std::size_t band_bytes = model_.kernels.packed_bytes(kPad, terms.padded());
    model_.kernels.pack_terms(
        space.noise.data(), terms.padded(),
        packed_b_[task.tensor].data() + static_cast<std::size_t>(task.band) * band_bytes);
  }

  void vote_matrix(const Task& task, const Terms& terms, bool last, Workspace& space) {
    const TensorSpec& tensor = spec(task.tensor);
    const std::int64_t begin = task.band * kPad, rows = std::min(kPad, tensor.rows - begin);
    fill(task, exact::NoiseRole::kA, tensor.rows, terms, space.noise);
    space.scratch.resize(std::max(space.scratch.size(), model_.kernels.vote_scratch_bytes(terms.padded())));
    AlignedVector<std::int32_t>& sums = sums_[task.tensor];
    const std::int64_t moved =
        model_.kernels.vote({.weights = model_.weights[task.tensor].data() + begin * tensor.cols,
                             .rows = rows,
                             .cols = tensor.cols,
                             .terms = terms.padded(),
                             .a = space.noise.data(),
                             .fitness = fitness_.data(),
                             .wide = largest_fitness_ * exact::kNoiseMax > exact::kClip,
                             .packed_b = packed_b_[task.tensor].data(),
                             .sums = sums.empty() ? nullptr : sums.data() + begin * padded(tensor.cols),
                             .first = terms.first_pair == 0,
                             .last = last,
                             .rule = rule_rows(request_.matrix, task.tensor, begin * tensor.cols),
                             .threshold = threshold(request_.matrix.threshold),
                             .scratch = space.scratch.data()});
    moved_ += static_cast<std::uint64_t>(moved);
  }

  // A vector has a vote per element: no product, so no packing. Its rank is 1.
  void vote_vector(const Task& task, Workspace& space) {
    const std::int64_t begin = task.band * kPad, width = std::min(kPad, spec(task.tensor).rows - begin);
    alignas(64) std::int32_t sums[kPad];
    for (std::int64_t first = 0; first < pairs(); first += kMostTerms) {
      const Terms terms{first, std::min(kMostTerms, pairs() - first), 1};
      fill(task, exact::NoiseRole::kA, spec(task.tensor).rows, terms, space.noise);
      fill(task, exact::NoiseRole::kB, spec(task.tensor).rows, terms, space.more_noise);
      const std::int64_t moved =
          model_.kernels.vote_vector({.weights = model_.weights[task.tensor].data() + begin,
                                      .count = width,
                                      .pairs = terms.padded(),
                                      .a = space.noise.data(),
                                      .b = space.more_noise.data(),
                                      .fitness = pair_fitness_.data() + first,
                                      .sums = sums,
                                      .first = first == 0,
                                      .last = first + terms.pairs == pairs(),
                                      .rule = rule_rows(request_.vector, task.tensor, begin),
                                      .threshold = threshold(request_.vector.threshold)});
      moved_ += static_cast<std::uint64_t>(moved);
    }
  }

  // The band has its new weights: their share of the digest, and the copies that kernels read.
  void finish(const Task& task) {
    const TensorSpec& tensor = spec(task.tensor);
    const std::int64_t begin = task.band * kPad, rows = std::min(kPad, tensor.rows - begin);
    model_.pack(task.tensor, task.band);
    digest_ += model_.kernels.digest(
        static_cast<std::uint32_t>(task.tensor), static_cast<std::uint32_t>(begin * tensor.cols / 8),
        model_.weights[task.tensor].data() + begin * tensor.cols, rows * tensor.cols);
  }

  LoadedModel& model_;
  const UpdateRequest& request_;
  ThreadPool& pool_;
  std::vector<Workspace> spaces_;
  std::vector<AlignedVector<std::byte>> packed_b_;  // by tensor
  std::vector<AlignedVector<std::int32_t>> sums_;   // by tensor, where votes are taken in turns
  AlignedVector<std::int8_t> fitness_;              // [padded terms] of the terms in work
  AlignedVector<std::int8_t> pair_fitness_;         // [pairs and some more], zeros beyond
  int largest_fitness_ = 0;
  std::atomic<std::uint64_t> moved_{0}, digest_{0};
};

}  // namespace

UpdateResult update(LoadedModel& model, const UpdateRequest& request, ThreadPool& pool) {
  return Update(model, request, pool).run();
}

}  // namespace clutch::cpu
