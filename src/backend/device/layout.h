// A program as device kernels read it: words of 32 bits that say, per instruction, where in a few flat
// buffers its operands lie. Every device backend uploads this table and interprets it; none walks a Program
// in its kernels. No vendor's header comes in here.
//
// Buffers, in bytes:
//   weights  all tensors, row-major, each row filled up to `row_alignment` with zeros
//   noise    of one pair: per tensor and component its A [rows] and its B [cols], each filled up to
//            `row_alignment` with zeros; a vector's B is as long as its A
//   slots    of one member: slots that are never alive together share bytes; each starts at a multiple of
//            `row_alignment`
//   states   of one member: as Program has them (program.h), unpadded
#pragma once

#include <cstdint>
#include <vector>

#include "program/program.h"
#include "program/verify.h"

namespace clutch::device {

constexpr std::uint32_t kNone = 0xFFFFFFFF;

// One instruction. Offsets are in bytes; those that do not apply are kNone.
struct FlatInstruction {
  std::uint32_t op = 0;                         // static_cast of Op
  std::uint32_t dst = 0, width = 0;             // where it writes in a member's slots, and how many elements
  std::uint32_t in[3] = {kNone, kNone, kNone};  // where it reads in a member's slots
  std::uint32_t in_width = 0;                   // elements of in[0]; 0 where nothing is read
  std::uint32_t tensor = kNone;                 // index, which keys of noise name
  std::uint32_t divisor = 1;                    // matmul
  std::uint32_t truncates = 0;                  // norm: 1 where its division rounds toward zero
  std::uint32_t keys = kNone, values = kNone;   // attend: its caches in a member's states
};

// One tensor.
struct FlatTensor {
  std::uint32_t rows = 0, cols = 0;  // a vector has cols 1
  std::uint32_t is_vector = 0;
  std::uint32_t weights = 0;     // in the weights; row n at weights + n · stride
  std::uint32_t stride = 0;      // of rows; a vector's elements are one row, so that its stride covers all
  std::uint32_t components = 0;  // rank, or 1 for a vector
  std::uint32_t noise_a = 0;     // in a pair's noise; component j at noise_a + j · stride_a
  std::uint32_t stride_a = 0;
  std::uint32_t noise_b = 0, stride_b = 0;
};

// A state of the program's list: in a member's states, and the slots it is read from and written to. A token
// has moments: 0 begins it, 1 + i is instruction i, the last ends it.
struct FlatState {
  std::uint32_t offset = 0, width = 0;
  std::uint32_t read = 0, write = 0;  // in a member's slots
  std::uint32_t load = 0, store = 0;  // moments: before the first reader and the writer, and after the writer
};

struct Layout {
  std::vector<FlatInstruction> instructions;
  std::vector<FlatTensor> tensors;
  std::vector<FlatState> states;
  std::uint32_t output = 0;  // the logits, in a member's slots
  std::uint32_t vocab = 0;
  std::uint32_t window = 0;        // 0 where the program knows no positions
  std::uint32_t count = kNone;     // the count of positions, in a member's states
  std::uint64_t weight_bytes = 0;  // of all tensors
  std::uint64_t noise_bytes = 0;   // of one pair
  std::uint64_t slot_bytes = 0;    // of one member
  std::uint64_t state_bytes = 0;   // of one member
};

// When a device moves states between its states and its slots: all of them as a token begins and ends, or
// each shortly before its first reader and after its writer, so that few lie in slots at the same time.
enum class StateMoves { kWholeToken, kAsNeeded };

// row_alignment: a power of two, at least 4. A state's slot to read keeps its bytes from the moment it is
// loaded to its last reader, a slot to write from its instruction to the moment it is stored, the logits to
// the end of the token. The caller checks the byte counts against its device: offsets of a layout beyond
// 2^32 - 1 bytes are a broken invariant.
Layout make_layout(const Program& program, const NoiseShape& noise, std::uint32_t row_alignment,
                   StateMoves moves = StateMoves::kWholeToken);

// Calls row(tensor, from, at, count) for each row of each tensor: where it begins among the tensor's
// elements, and in the buffer of weights.
template <class Row>
void for_rows(const Layout& layout, Row row) {
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    const FlatTensor& t = layout.tensors[i];
    const std::size_t rows = t.is_vector ? 1 : t.rows, cols = t.is_vector ? t.rows : t.cols;
    for (std::size_t n = 0; n < rows; ++n) row(i, n * cols, t.weights + n * t.stride, cols);
  }
}

// The weights as the layout has them, and back.
std::vector<std::int8_t> flatten(const Layout& layout, const Weights& weights);
Weights unflatten(const Layout& layout, const std::vector<std::int8_t>& flat);

}  // namespace clutch::device
