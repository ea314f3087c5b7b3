// The program of a case file, as JSON: lists of numbers in the order of program.h, ops by name.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "exact/attention.h"
#include "parity/case_file.h"

namespace clutch::parity {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHint = "the case is damaged or of another clutch; make it again with `clutch parity`";
constexpr std::size_t kMaxEntries = 65536;  // of tensors, slots, states or instructions
constexpr std::int64_t kMaxNumber = std::int64_t{1} << 31;

// Reads members of JSON that nobody has checked; the first thing that does not fit is kept.
class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  std::int64_t integer(const Json& object, const char* key, std::int64_t least, std::int64_t most) {
    const Json value = member(object, key);
    const bool fits = value.is_number_integer() && (!value.is_number_unsigned() ||
                                                    value.get<std::uint64_t>() <= std::uint64_t{kMaxNumber});
    const std::int64_t number = fits ? value.get<std::int64_t>() : 0;
    if (fits && number >= least && number <= most) return number;
    refuse(fmt::format("'{}' is {}, not an integer in {}..{}", key, shown(value), least, most));
    return least;
  }

  std::string text(const Json& object, const char* key) {
    const Json value = member(object, key);
    if (value.is_string()) return value.get<std::string>();
    refuse(fmt::format("'{}' is {}, not a text", key, shown(value)));
    return "";
  }

  Json list(const Json& object, const char* key) {
    const Json value = member(object, key);
    if (value.is_array() && value.size() <= kMaxEntries) return value;
    refuse(fmt::format("'{}' is no list of at most {}", key, kMaxEntries));
    return Json::array();
  }

  void refuse(const std::string& problem) {
    if (status_.ok()) status_ = fail(name_, "its program: " + problem, kHint);
  }
  const Status& status() const { return status_; }

 private:
  static Json member(const Json& object, const char* key) {
    return object.is_object() && object.contains(key) ? object.at(key) : Json();
  }
  static std::string shown(const Json& value) {
    if (value.is_null()) return "missing";
    if (value.is_structured()) return "a list or an object";
    return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
  }
  const std::string name_;
  Status status_;
};

TensorSpec read_tensor(Reader& reader, const Json& json) {
  TensorSpec tensor;
  tensor.name = reader.text(json, "name");
  tensor.layer = static_cast<int>(reader.integer(json, "layer", TensorSpec::kUnstacked, kMaxEntries));
  const std::string kind = reader.text(json, "kind");
  if (kind != "matrix" && kind != "vector") reader.refuse("a tensor is neither matrix nor vector");
  tensor.kind = kind == "vector" ? TensorKind::kVector : TensorKind::kMatrix;
  tensor.rows = reader.integer(json, "rows", 1, kMaxNumber);
  tensor.cols = reader.integer(json, "cols", 1, kMaxNumber);
  return tensor;
}

Instruction read_instruction(Reader& reader, const Json& json) {
  Instruction instruction;
  const std::string op = reader.text(json, "op");
  const auto found =
      std::find_if(std::begin(kOps), std::end(kOps), [&](const OpInfo& o) { return o.name == op; });
  if (found == std::end(kOps)) {
    reader.refuse(fmt::format("an op is unknown: '{}'", op.substr(0, 40)));
    return instruction;
  }
  instruction.op = static_cast<Op>(found - std::begin(kOps));
  instruction.dst = static_cast<int>(reader.integer(json, "dst", 0, kMaxEntries));
  const char* const kIn[] = {"x", "y", "z"};
  for (int k = 0; k < found->slots_read; ++k)
    instruction.in[k] = static_cast<int>(reader.integer(json, kIn[k], 0, kMaxEntries));
  if (found->tensor != TensorKind::kNone)
    instruction.tensor = static_cast<int>(reader.integer(json, "tensor", 0, kMaxEntries));
  if (found->attribute == Attribute::kDivisor)
    instruction.divisor = reader.integer(json, "divisor", 1, kMaxNumber);
  if (found->attribute == Attribute::kRounding)
    instruction.rounding =
        reader.integer(json, "truncates", 0, 1) == 1 ? exact::Rounding::kTruncate : exact::Rounding::kFloor;
  return instruction;
}

}  // namespace

std::string program_to_json(const Program& program) {
  Json tensors = Json::array(), slots = Json::array(), states = Json::array(), instructions = Json::array();
  for (const TensorSpec& tensor : program.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"layer", tensor.layer},
                       {"kind", tensor.kind == TensorKind::kVector ? "vector" : "matrix"},
                       {"rows", tensor.rows},
                       {"cols", tensor.cols}});
  }
  for (const Slot& slot : program.slots) slots.push_back({{"name", slot.name}, {"width", slot.width}});
  for (const State& state : program.states) states.push_back({{"read", state.read}, {"write", state.write}});
  for (const Instruction& instruction : program.instructions) {
    const OpInfo& op = info(instruction.op);
    Json json = {{"op", op.name}, {"dst", instruction.dst}};
    const char* const kIn[] = {"x", "y", "z"};
    for (int k = 0; k < op.slots_read; ++k) json[kIn[k]] = instruction.in[k];
    if (op.tensor != TensorKind::kNone) json["tensor"] = instruction.tensor;
    if (op.attribute == Attribute::kDivisor) json["divisor"] = instruction.divisor;
    if (op.attribute == Attribute::kRounding)
      json["truncates"] = instruction.rounding == exact::Rounding::kTruncate ? 1 : 0;
    instructions.push_back(std::move(json));
  }
  const Json all = {{"name", program.name},     {"vocab", program.vocab},      {"window", program.window},
                    {"output", program.output}, {"tensors", tensors},          {"slots", slots},
                    {"states", states},         {"instructions", instructions}};
  return all.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Program> program_from_json(const std::string& text, const std::string& name) {
  // Three levels are all there are: deeper ones are dropped while they are read.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 3; };
  const Json json = Json::parse(text, shallow, false);
  Reader reader(name);
  if (!json.is_object()) reader.refuse("is not a JSON object");
  Program program;
  program.name = reader.text(json, "name");
  program.vocab = reader.integer(json, "vocab", 2, kMaxNumber);
  program.window = reader.integer(json, "window", 0, exact::kMaxWindow);
  program.output = static_cast<int>(reader.integer(json, "output", 0, kMaxEntries));
  for (const Json& one : reader.list(json, "tensors")) program.tensors.push_back(read_tensor(reader, one));
  for (const Json& one : reader.list(json, "slots"))
    program.slots.push_back({reader.text(one, "name"), reader.integer(one, "width", 1, kMaxNumber)});
  for (const Json& one : reader.list(json, "states")) {
    program.states.push_back({static_cast<int>(reader.integer(one, "read", 0, kMaxEntries)),
                              static_cast<int>(reader.integer(one, "write", 0, kMaxEntries))});
  }
  for (const Json& one : reader.list(json, "instructions"))
    program.instructions.push_back(read_instruction(reader, one));
  if (!reader.status().ok()) return reader.status();
  return program;
}

}  // namespace clutch::parity
