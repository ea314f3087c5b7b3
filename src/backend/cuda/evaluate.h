// The kernel that evaluates a whole window: a block owns a tile of members, whose slots lie in shared memory,
// and interprets the program for them token by token. docs/BACKENDS.md says why so, and what it costs.
#pragma once

#include "backend/cuda/noise.h"
#include "backend/cuda/products.h"
#include "backend/cuda/rows.h"
#include "exact/loss.h"

namespace clutch::cuda::CLUTCH_VENDOR {

template <int kRowTiles>
__device__ __forceinline__ void run_step(const Tile& tile, const Step& s) {
  const device::FlatTensor* t = s.tensor == device::kNone ? nullptr : tile.a.model.tensors + s.tensor;
  switch (static_cast<Op>(s.op)) {
    case Op::embed:
      return run_embed(tile, s, *t);
    case Op::matmul:
      return run_matmul<kRowTiles>(tile, s, *t);
    case Op::norm:
      return run_norm(tile, s, *t);
    case Op::rescale:
    case Op::add_rescale:
    case Op::rotate:
      return run_rescaled(tile, s);
    case Op::attend:
      return run_attend(tile, s);
    case Op::add:
      return run_elements<Op::add>(tile, s, nullptr);
    case Op::add_bias:
      return run_elements<Op::add_bias>(tile, s, t);
    case Op::gate:
      return run_elements<Op::gate>(tile, s, nullptr);
    case Op::mix:
      return run_elements<Op::mix>(tile, s, nullptr);
    case Op::relu:
      return run_elements<Op::relu>(tile, s, nullptr);
    case Op::bias:
      return run_elements<Op::bias>(tile, s, t);
    case Op::gelu:
      return run_elements<Op::gelu>(tile, s, nullptr);
  }
}

// Zero states, slots and losses, and the pairs' noise, for every row of the tile whether a member has it or
// not.
__device__ __forceinline__ void begin_tile(const Tile& tile) {
  const EvaluateArguments& a = tile.a;
  for (std::uint32_t i = 4 * tile.thread; i < a.tile.members * a.tile.pitch; i += 4 * tile.threads)
    store4(tile.slots + i, 0);
  for (std::uint32_t m = tile.thread; m < tile.count; m += tile.threads) {
    tile.losses[m] = 0;
    if (a.keeps_states) continue;
    for (std::uint32_t i = 0; i < a.model.first_move[a.model.step_count + 2]; ++i) {
      const Move& move = a.model.moves[i];
      for (std::uint32_t n = 0; n < move.width; n += 4) store4(tile.state(m) + move.state + n, 0);
    }
    if (a.model.window > 0) write_count(0, tile.state(m) + a.model.count);
  }
  if (!a.noisy) return;
  for (std::uint32_t i = 0; i < a.model.tensor_count; ++i)
    fill_noise(a.model, a.seed, i, a.seed.first_pair + tile.first / 2, a.tile.members / 2, tile.noise,
               tile.thread, tile.threads);
}

__device__ __forceinline__ const std::uint16_t* text_of(const Tile& tile, std::uint32_t m) {
  return tile.a.text + static_cast<std::uint64_t>(tile.a.stream_of[tile.first + m]) * (tile.a.length + 1);
}

// Tokens and positions.
__device__ __forceinline__ void begin_token(const Tile& tile, std::uint32_t time) {
  const Model& model = tile.a.model;
  for (std::uint32_t m = tile.thread; m < tile.count; m += tile.threads) {
    const std::uint16_t token = text_of(tile, m)[time];
    tile.tokens[m] = token;
    if (model.window == 0) continue;
    std::int8_t* count = tile.state(m) + model.count;
    const std::int64_t position = next_position(read_count(count, model.window), token, model.window);
    tile.positions[m] = static_cast<std::uint32_t>(position);
    write_count(position + 1, count);
  }
}

// States whose moment it is, into the slots they are read from, zeros where a document starts, or from those
// they are written to. The layout sees to it that what the moment's instruction does touches none of that but
// to read it, so that it takes no barrier of its own.
__device__ __forceinline__ void move_states(const Tile& tile, std::uint32_t moment) {
  const Model& model = tile.a.model;
  for (std::uint32_t at = model.first_move[moment]; at < model.first_move[moment + 1]; ++at) {
    const Move move = model.moves[at];
    for (std::uint32_t first = tile.warp; first < tile.count; first += kTogether * tile.warps) {
      for (std::uint32_t n = 4 * tile.lane; n < move.width; n += 4 * kWarp) {
        std::uint32_t words[kTogether] = {};
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const std::uint32_t m = tile.member(first, i);
          if (m >= tile.count) break;
          if (move.stores) {
            words[i] = load4(tile.slot(m, move.slot) + n);
          } else if (tile.tokens[m] != 0) {
            words[i] = load4(tile.state(m) + move.state + n);
          }
        }
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const std::uint32_t m = tile.member(first, i);
          if (m >= tile.count) break;
          store4(move.stores ? tile.state(m) + move.state + n : tile.slot(m, move.slot) + n, words[i]);
        }
      }
    }
  }
}

__device__ __forceinline__ void end_token(const Tile& tile, std::uint32_t time) {
  const EvaluateArguments& a = tile.a;
  const Model& model = a.model;
  for (std::uint32_t m = tile.warp; m < tile.count; m += tile.warps) {
    const std::int8_t* logits = tile.slot(m, model.output);
    int largest = -exact::kClip;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp)
      largest = logits[n] > largest ? logits[n] : largest;
    largest = warp_largest(largest);
    std::uint64_t sum = 0;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp)
      sum += exact::exp2_negative(model.tables.exp2, static_cast<std::uint32_t>(largest - logits[n]));
    sum = warp_sum(sum);
    if (tile.lane == 0)
      tile.losses[m] +=
          exact::loss_from_sum(model.tables.log2, sum, largest - logits[text_of(tile, m)[time + 1]]);
    if (a.logits == nullptr) continue;
    std::int8_t* out =
        a.logits + (static_cast<std::uint64_t>(tile.first + m) * a.length + time) * model.vocab;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp) out[n] = logits[n];
  }
}

__device__ __forceinline__ void keep_trace(const Tile& tile, const Step& s, std::uint32_t time) {
  const std::int8_t* from = tile.slot(tile.a.traced, s.dst);
  std::int8_t* to = tile.a.trace + static_cast<std::uint64_t>(time) * tile.a.model.trace_bytes + s.trace;
  for (std::uint32_t n = tile.thread; n < s.width; n += tile.threads) to[n] = from[n];
}

template <std::uint32_t kRowTiles>
__global__ void __launch_bounds__(kEvaluateThreads)
    evaluate_window(const __grid_constant__ EvaluateArguments a) {
  unsigned char* shared = shared_memory();
  const std::uint32_t thread = threadIdx.x, warp = thread / kWarp;
  Tile tile{.a = a,
            .slots = reinterpret_cast<std::int8_t*>(shared),
            .projections = reinterpret_cast<std::int32_t*>(shared + a.tile.projections),
            .weights = reinterpret_cast<std::int32_t*>(shared + a.tile.weights) + warp * a.model.window,
            .losses = reinterpret_cast<std::int64_t*>(shared + a.tile.losses),
            .tokens = reinterpret_cast<std::uint32_t*>(shared + a.tile.tokens),
            .positions = reinterpret_cast<std::uint32_t*>(shared + a.tile.positions),
            .noise = a.noise + std::uint64_t{blockIdx.x} * (a.tile.members / 2) * a.model.noise_bytes,
            .states = nullptr,
            .first = 0,
            .count = 0,
            .thread = thread,
            .threads = blockDim.x,
            .lane = thread % kWarp,
            .warp = warp,
            .warps = blockDim.x / kWarp};
  for (std::uint64_t first = std::uint64_t{blockIdx.x} * a.tile.members; first < a.members;
       first += std::uint64_t{gridDim.x} * a.tile.members) {
    tile.first = static_cast<std::uint32_t>(first);
    tile.count = a.members - tile.first < a.tile.members ? a.members - tile.first : a.tile.members;
    tile.states = a.states +
                  (a.keeps_states ? first : std::uint64_t{blockIdx.x} * a.tile.members) * a.model.state_bytes;
    begin_tile(tile);
    __syncthreads();
    for (std::uint32_t time = 0; time < a.length; ++time) {
      begin_token(tile, time);
      __syncthreads();
      move_states(tile, 0);
      __syncthreads();
      for (std::uint32_t i = 0; i < a.model.step_count; ++i) {
        move_states(tile, 1 + i);
        run_step<kRowTiles>(tile, a.model.steps[i]);
        __syncthreads();
        if (a.trace == nullptr) continue;
        keep_trace(tile, a.model.steps[i], time);
        __syncthreads();
      }
      end_token(tile, time);
      move_states(tile, 1 + a.model.step_count);
      __syncthreads();
    }
    for (std::uint32_t m = thread; m < tile.count; m += tile.threads) a.losses[first + m] = tile.losses[m];
    __syncthreads();
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
