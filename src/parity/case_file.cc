#include "parity/case_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>

#include "base/safetensors.h"
#include "evolution/population.h"
#include "evolution/rule.h"
#include "exact/version.h"
#include "program/verify.h"

namespace clutch::parity {
namespace {

constexpr const char* kHint = "the case is damaged or of another clutch; make it again with `clutch parity`";
constexpr const char* kVersion = "1";
constexpr std::int64_t kMaxMembers = 1 << 16, kMaxLength = 1 << 20, kMaxSlotElements = 1 << 26,
                       kMaxStateBytes = std::int64_t{1} << 32;

std::string weights_name(std::size_t tensor) { return fmt::format("weights.{}", tensor); }
std::string remembered_name(std::size_t k, std::size_t tensor) {
  return fmt::format("rule.{}.{}", k, tensor);
}

Tensor bytes_tensor(std::string name, std::vector<std::int64_t> shape,
                    const std::vector<std::int8_t>& values) {
  return {std::move(name), std::move(shape), values, ElementType::kInt8};
}

template <class T>
Tensor words_tensor(std::string name, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  Tensor tensor{std::move(name), std::move(shape), {}, ElementType::kInt32};
  for (const T value : values) {
    const auto word = static_cast<std::int32_t>(value);
    std::int8_t bytes[4];
    std::memcpy(bytes, &word, 4);  // files and this machine are little-endian alike
    tensor.data.insert(tensor.data.end(), bytes, bytes + 4);
  }
  return tensor;
}

std::int64_t size_of(std::size_t count) { return static_cast<std::int64_t>(count); }

void put_noise(std::map<std::string, std::string>& metadata, const std::string& prefix,
               const NoiseSource& noise) {
  metadata[prefix + "_seed"] = std::to_string(noise.seed);
  metadata[prefix + "_epoch"] = std::to_string(noise.epoch);
  metadata[prefix + "_first_pair"] = std::to_string(noise.first_pair);
}

// The constants that a rule's scale does not follow from; the scale follows from the fitness.
struct Constant {
  const char* name;
  std::int64_t least, most;
  std::int64_t (*get)(const exact::RuleStep&);
  void (*set)(exact::RuleStep&, std::int64_t);
};
constexpr Constant kConstants[] = {
    {"threshold", 0, INT64_C(1) << 40, [](const exact::RuleStep& s) { return s.threshold; },
     [](exact::RuleStep& s, std::int64_t v) { s.threshold = v; }},
    {"forget", 0, 1 << exact::kForgetBits,
     [](const exact::RuleStep& s) { return std::int64_t{s.forget_q14}; },
     [](exact::RuleStep& s, std::int64_t v) { s.forget_q14 = static_cast<std::int32_t>(v); }},
    {"forget_square", 0, 1 << exact::kForgetBits,
     [](const exact::RuleStep& s) { return std::int64_t{s.forget_square_q14}; },
     [](exact::RuleStep& s, std::int64_t v) { s.forget_square_q14 = static_cast<std::int32_t>(v); }},
    {"rate", 0, exact::kMaxRate, [](const exact::RuleStep& s) { return std::int64_t{s.rate_q12}; },
     [](exact::RuleStep& s, std::int64_t v) { s.rate_q12 = static_cast<std::int32_t>(v); }},
    {"decay", 0, exact::kMaxDecay, [](const exact::RuleStep& s) { return std::int64_t{s.decay_q24}; },
     [](exact::RuleStep& s, std::int64_t v) { s.decay_q24 = static_cast<std::int32_t>(v); }},
};

// A file's tensors and metadata, each asked for by name and checked as it is handed out.
class CaseReader {
 public:
  CaseReader(const SafetensorsFile& file, std::string name) : file_(file), name_(std::move(name)) {}

  Result<Case> read() {
    Case c;
    if (text("clutch_case") != kVersion) refuse("it is no case of this clutch's");
    if (text("semantic_version") != std::to_string(exact::kSemanticVersion))
      refuse(fmt::format("was written under semantic version {}, this is {}", text("semantic_version"),
                         exact::kSemanticVersion));
    if (!status_.ok()) return status_;
    auto program = program_from_json(text("program"), name_);
    if (!program.ok()) return program.status();
    c.start.program = std::move(program).value();
    c.start.noise = {.rank = static_cast<int>(number("rank", 1, kMaxRank)),
                     .sigma_shift = static_cast<int>(number("sigma_shift", 0, kMaxSigmaShift))};
    c.start.members = static_cast<std::uint32_t>(number("members", 0, kMaxMembers));
    if (!status_.ok()) return status_;
    CLUTCH_RETURN_IF_ERROR(check_program(c.start));
    read_start(c.start);
    Step step;
    if (has("length")) step.evaluation = read_evaluation(c.start);
    if (has("update_seed")) step.update = read_update(c.start);
    if (!step.evaluation && !step.update) refuse("it holds neither an evaluation nor an update");
    if (!status_.ok()) return status_;
    c.steps.push_back(std::move(step));
    return c;
  }

 private:
  // What verify() does not judge is how much memory a program takes.
  Status check_program(const Start& start) {
    const auto bounds = verify(start.program, start.noise);
    if (!bounds.ok()) return fail(name_, "its program is refused: " + bounds.status().message(), kHint);
    std::int64_t elements = 0, states = 0;
    for (const Slot& slot : start.program.slots) elements += slot.width;
    states = start.program.state_width() * std::max<std::int64_t>(1, start.members);
    if (elements <= kMaxSlotElements && states <= kMaxStateBytes) return {};
    return fail(name_,
                fmt::format("its program takes {} slot elements and {} bytes of states", elements, states),
                kHint);
  }

  void read_start(Start& start) {
    const Program& program = start.program;
    for (std::size_t t = 0; t < program.tensors.size(); ++t) {
      const TensorSpec& spec = program.tensors[t];
      start.weights.push_back(bytes(weights_name(t), {spec.rows, spec.cols}));
    }
    const auto rule = find_rule(text("rule"));
    if (!rule) {
      refuse(fmt::format("its rule '{}' is unknown", text("rule").substr(0, 40)));
      return;
    }
    start.memory.rule = *rule;
    const exact::RuleEntry& entry = exact::entry(*rule);
    if (entry.state_count() > 0 && find(remembered_name(0, 0)) != nullptr) {
      for (int k = 0; k < entry.state_count(); ++k) {
        Words& all = start.memory.state.emplace_back();
        for (std::size_t t = 0; t < program.tensors.size(); ++t)
          all.push_back(words(remembered_name(static_cast<std::size_t>(k), t),
                              {program.tensors[t].rows, program.tensors[t].cols}, entry.states[k].least,
                              entry.states[k].most));
      }
    }
    if (find("states") != nullptr)
      start.states = bytes("states", {std::int64_t{start.members}, program.state_width()});
  }

  Evaluation read_evaluation(const Start& start) {
    Evaluation evaluation;
    evaluation.length = static_cast<std::uint32_t>(number("length", 1, kMaxLength));
    const std::int64_t streams = number("streams", 1, kMaxMembers);
    if (start.members == 0) refuse("it evaluates no members");
    for (const std::int32_t token : words("text", {streams, std::int64_t{evaluation.length} + 1}, 0,
                                          static_cast<std::int32_t>(start.program.vocab - 1)))
      evaluation.text.push_back(static_cast<std::uint16_t>(token));
    for (const std::int32_t stream :
         words("stream_of", {std::int64_t{start.members}}, 0, static_cast<std::int32_t>(streams - 1)))
      evaluation.stream_of.push_back(static_cast<std::uint32_t>(stream));
    if (has("noise_seed")) evaluation.noise = noise("noise");
    if (evaluation.noise && start.members % 2 != 0) refuse("its members are no whole pairs");
    return evaluation;
  }

  Update read_update(const Start& start) {
    Update update;
    update.noise = noise("update");
    if (update.noise.first_pair != 0) refuse("its update does not begin with pair 0");
    const std::int64_t pairs = number("pairs", 1, kMaxPopulation / 2);
    update.fitness = bytes("fitness", {pairs});
    if (!status_.ok()) return update;
    const Status fits = verify_population(
        {.size = static_cast<std::uint32_t>(2 * pairs), .group_size = 2, .noise = start.noise}, 127);
    if (!fits.ok()) refuse("its votes could overflow: " + fits.message());
    const std::pair<const char*, exact::RuleStep*> steps[] = {{"matrix", &update.matrix},
                                                              {"vector", &update.vector}};
    for (const auto& [of, step] : steps) {
      step->rule = start.memory.rule;
      for (const Constant& one : kConstants)
        one.set(*step, number(fmt::format("{}_{}", of, one.name), one.least, one.most));
      step->scale = exact::make_vote_scale(
          vote_deviation(update.fitness, step == &update.matrix ? start.noise.rank : 1));
    }
    return update;
  }

  NoiseSource noise(const std::string& prefix) {
    return {.seed = unsigned_number(prefix + "_seed", UINT64_MAX),
            .epoch = static_cast<std::uint32_t>(unsigned_number(prefix + "_epoch", UINT32_MAX)),
            .first_pair = static_cast<std::uint32_t>(
                unsigned_number(prefix + "_first_pair", UINT32_MAX - kMaxMembers))};
  }

  bool has(const std::string& key) const { return file_.metadata.contains(key); }

  std::string text(const std::string& key) {
    const auto found = file_.metadata.find(key);
    if (found != file_.metadata.end()) return found->second;
    refuse(fmt::format("its metadata lack '{}'", key));
    return "";
  }

  std::uint64_t unsigned_number(const std::string& key, std::uint64_t most) {
    const std::string digits = text(key);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc() && end == digits.data() + digits.size() && value <= most) return value;
    refuse(fmt::format("'{}' is '{}', not an integer in 0..{}", key, digits.substr(0, 40), most));
    return 0;
  }

  std::int64_t number(const std::string& key, std::int64_t least, std::int64_t most) {
    const auto value = static_cast<std::int64_t>(unsigned_number(key, static_cast<std::uint64_t>(most)));
    if (value >= least) return value;
    refuse(fmt::format("'{}' is {}, not an integer in {}..{}", key, value, least, most));
    return least;
  }

  const Tensor* find(const std::string& name) const {
    const auto found = std::find_if(file_.tensors.begin(), file_.tensors.end(),
                                    [&](const Tensor& tensor) { return tensor.name == name; });
    return found == file_.tensors.end() ? nullptr : &*found;
  }

  // Nothing, with status_ set, where it is not there as wanted.
  const Tensor* tensor(const std::string& name, const std::vector<std::int64_t>& shape, ElementType type) {
    const Tensor* found = find(name);
    if (found != nullptr && found->shape == shape && found->type == type) return found;
    refuse(fmt::format("tensor '{}' is {}", name, found == nullptr ? "missing" : "of another shape or type"));
    return nullptr;
  }

  std::vector<std::int8_t> bytes(const std::string& name, const std::vector<std::int64_t>& shape) {
    const Tensor* found = tensor(name, shape, ElementType::kInt8);
    if (found == nullptr) return {};
    if (std::find(found->data.begin(), found->data.end(), std::int8_t{-128}) != found->data.end())
      refuse(fmt::format("tensor '{}' holds -128", name));
    return found->data;
  }

  std::vector<std::int32_t> words(const std::string& name, const std::vector<std::int64_t>& shape,
                                  std::int32_t least, std::int32_t most) {
    const Tensor* found = tensor(name, shape, ElementType::kInt32);
    if (found == nullptr) return {};
    std::vector<std::int32_t> values(found->data.size() / 4);
    if (!values.empty()) std::memcpy(values.data(), found->data.data(), found->data.size());
    for (const std::int32_t value : values) {
      if (value < least || value > most)
        refuse(fmt::format("tensor '{}' holds {}, beyond {}..{}", name, value, least, most));
    }
    return values;
  }

  void refuse(const std::string& problem) {
    if (status_.ok()) status_ = fail(name_, problem, kHint);
  }

  const SafetensorsFile& file_;
  const std::string name_;
  Status status_;
};

}  // namespace

Status write_case(const std::string& path, const Case& c) {
  check_equal(c.steps.size(), std::size_t{1}, "steps of a case to write");
  SafetensorsFile file;
  auto& metadata = file.metadata;
  const Start& start = c.start;
  metadata = {{"clutch_case", kVersion},
              {"semantic_version", std::to_string(exact::kSemanticVersion)},
              {"program", program_to_json(start.program)},
              {"rank", std::to_string(start.noise.rank)},
              {"sigma_shift", std::to_string(start.noise.sigma_shift)},
              {"members", std::to_string(start.members)},
              {"rule", std::string(exact::entry(start.memory.rule).name)}};
  for (std::size_t k = 0; k < start.memory.state.size(); ++k) {
    for (std::size_t t = 0; t < start.program.tensors.size(); ++t) {
      const TensorSpec& spec = start.program.tensors[t];
      file.tensors.push_back(
          words_tensor(remembered_name(k, t), {spec.rows, spec.cols}, start.memory.state[k][t]));
    }
  }
  if (const auto& evaluation = c.steps[0].evaluation) {
    const std::int64_t length = evaluation->length;
    const std::int64_t streams = size_of(evaluation->text.size()) / (length + 1);
    metadata["length"] = std::to_string(length);
    metadata["streams"] = std::to_string(streams);
    if (evaluation->noise) put_noise(metadata, "noise", *evaluation->noise);
    file.tensors.push_back(words_tensor("text", {streams, length + 1}, evaluation->text));
    file.tensors.push_back(
        words_tensor("stream_of", {size_of(evaluation->stream_of.size())}, evaluation->stream_of));
  }
  if (const auto& update = c.steps[0].update) {
    put_noise(metadata, "update", update->noise);
    metadata["pairs"] = std::to_string(update->fitness.size());
    for (const Constant& one : kConstants) {
      metadata[fmt::format("matrix_{}", one.name)] = std::to_string(one.get(update->matrix));
      metadata[fmt::format("vector_{}", one.name)] = std::to_string(one.get(update->vector));
    }
    file.tensors.push_back(bytes_tensor("fitness", {size_of(update->fitness.size())}, update->fitness));
  }
  for (std::size_t t = 0; t < start.weights.size(); ++t) {
    const TensorSpec& spec = start.program.tensors[t];
    file.tensors.push_back(bytes_tensor(weights_name(t), {spec.rows, spec.cols}, start.weights[t]));
  }
  if (!start.states.empty())
    file.tensors.push_back(
        bytes_tensor("states", {start.members, start.program.state_width()}, start.states));
  return write_safetensors(path, file);
}

Result<Case> parse_case(std::string_view bytes, const std::string& name) {
  auto file = parse_safetensors(bytes, name);
  if (!file.ok()) return file.status();
  return CaseReader(file.value(), name).read();
}

Result<Case> read_case(const std::string& path) {
  auto file = read_safetensors(path);
  if (!file.ok()) return file.status();
  return CaseReader(file.value(), path).read();
}

}  // namespace clutch::parity
