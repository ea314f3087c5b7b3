#include "backend/cpu/update.h"

#include <algorithm>
#include <atomic>

#include "exact/digest.h"

namespace clutch::cpu {
namespace {

constexpr std::int64_t kPairsAtATime = 1024;  // bounds the noise held: this many · rank · (rows + cols) bytes
constexpr std::int64_t kRowsPerTask = 32;     // rows of votes that a thread fills at a time

// The noise of pairs [first, first + count) on one tensor: a [count · rank][padded rows], b likewise.
struct TermNoise {
  AlignedVector<std::int8_t> a, b;
};

void fill_terms(const LoadedModel& model, int t, const NoiseSource& noise, std::int64_t first,
                std::int64_t count, ThreadPool& pool, TermNoise& out) {
  const TensorSpec& tensor = model.program.tensors[t];
  const bool vector = tensor.kind == TensorKind::kVector;
  const int rank = vector ? 1 : model.shape.rank;
  const std::int64_t inputs = vector ? tensor.rows : tensor.cols;
  out.a.assign(count * rank * padded(tensor.rows), 0);
  out.b.assign(count * rank * padded(inputs), 0);
  pool.run(static_cast<int>(count), [&](int p, int) {
    exact::NoiseKey key{.seed = noise.seed,
                        .epoch = noise.epoch,
                        .pair = static_cast<std::uint32_t>(first + p),
                        .tensor = static_cast<std::uint16_t>(t)};
    for (int j = 0; j < rank; ++j) {
      const std::int64_t term = std::int64_t{p} * rank + j;
      key.component = static_cast<std::uint8_t>(j);
      key.role = exact::NoiseRole::kA;
      model.kernels.fill_noise(key, 0, static_cast<std::uint32_t>(tensor.rows),
                               out.a.data() + term * padded(tensor.rows));
      key.role = exact::NoiseRole::kB;
      model.kernels.fill_noise(key, 0, static_cast<std::uint32_t>(inputs),
                               out.b.data() + term * padded(inputs));
    }
  });
}

// votes [rows][padded cols] (a vector: [padded rows]) of one tensor over all pairs.
void collect_votes(const LoadedModel& model, int t, const UpdateRequest& request, ThreadPool& pool,
                   std::vector<std::int32_t>& votes) {
  const TensorSpec& tensor = model.program.tensors[t];
  const bool vector = tensor.kind == TensorKind::kVector;
  const std::int64_t cols = padded(tensor.cols), pairs = static_cast<std::int64_t>(request.fitness.size());
  votes.assign(vector ? padded(tensor.rows) : tensor.rows * cols, 0);
  TermNoise noise;
  for (std::int64_t first = 0; first < pairs; first += kPairsAtATime) {
    const std::int64_t count = std::min(kPairsAtATime, pairs - first);
    fill_terms(model, t, request.noise, first, count, pool, noise);
    const std::int8_t* fitness = request.fitness.data() + first;
    if (vector) {
      for (std::int64_t p = 0; p < count; ++p) {
        const std::int64_t row = p * padded(tensor.rows);
        for (std::int64_t n = 0; n < tensor.rows; ++n)
          votes[n] += fitness[p] * noise.a[row + n] * noise.b[row + n];
      }
      continue;
    }
    const int tasks = static_cast<int>((tensor.rows + kRowsPerTask - 1) / kRowsPerTask);
    pool.run(tasks, [&](int task, int) {
      const std::int64_t begin = task * kRowsPerTask, end = std::min(begin + kRowsPerTask, tensor.rows);
      model.kernels.votes({votes.data() + begin * cols, begin, end, padded(tensor.rows), cols,
                           count * model.shape.rank, noise.a.data(), noise.b.data(), fitness,
                           model.shape.rank});
    });
  }
}

}  // namespace

UpdateResult update(LoadedModel& model, const UpdateRequest& request, ThreadPool& pool) {
  UpdateResult result;
  std::vector<std::int32_t> votes;
  for (std::size_t t = 0; t < model.program.tensors.size(); ++t) {
    const TensorSpec& tensor = model.program.tensors[t];
    const bool vector = tensor.kind == TensorKind::kVector;
    const std::int64_t threshold = vector ? request.vector_threshold : request.matrix_threshold;
    const std::int64_t stride = vector ? 1 : padded(tensor.cols);
    collect_votes(model, static_cast<int>(t), request, pool, votes);
    std::vector<std::int8_t>& weights = model.weights[t];
    for (std::int64_t n = 0; n < tensor.rows; ++n) {
      for (std::int64_t k = 0; k < tensor.cols; ++k) {
        const std::int32_t vote = votes[n * stride + k];
        if (exact::absolute(vote) <= threshold) continue;
        std::int8_t& weight = weights[n * tensor.cols + k];
        const std::int8_t next = exact::clip(weight + exact::sign(vote));
        result.moved += next != weight;
        weight = next;
      }
    }
    model.pack(static_cast<int>(t));
    result.digest += exact::digest_tensor(static_cast<std::uint32_t>(t), weights.data(), weights.size());
  }
  return result;
}

}  // namespace clutch::cpu
