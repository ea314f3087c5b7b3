#include "run/exchange.h"

#include <fmt/format.h>

#include <numeric>

#include "base/bytes.h"
#include "run/fitness_log.h"

namespace clutch {
namespace {

enum Kind : char { kGo = 0, kStop = 1, kTrouble = 2 };
constexpr std::size_t kPrefixBytes = 1 + 8 + 8 + 8;  // kind, digest, sum of losses, processor time

Status trouble_of(int rank, std::string_view message) {
  return fail(fmt::format("rank {}", rank), std::string(message), "mend that, then go on with --resume");
}

// How a rank's losses travel.
enum class Form : std::uint8_t { kSigns, kDifferences, kLosses };

Form form_of(FitnessShape shape, const Population& population) {
  if (population.texts_per_pair == 2) return Form::kLosses;
  return shape == FitnessShape::sign ? Form::kSigns : Form::kDifferences;
}

std::size_t encoded_bytes(Form form, std::uint32_t pairs) {
  if (form == Form::kSigns) return kPrefixBytes + packed_fitness_bytes(FitnessShape::sign, pairs);
  return kPrefixBytes + std::size_t{pairs} * (form == Form::kLosses ? 16 : 8);
}

std::string encode(Form form, const StepPart& part) {
  std::string out(1, part.stop ? kStop : kGo);
  const auto put = [&](std::int64_t value) { put_little_endian(out, static_cast<std::uint64_t>(value), 8); };
  put(static_cast<std::int64_t>(part.digest));
  put(std::accumulate(part.losses.begin(), part.losses.end(), std::int64_t{0}));
  put(static_cast<std::int64_t>(part.core_ns));
  if (form == Form::kSigns)
    pack_fitness(FitnessShape::sign, fitness_of(FitnessShape::sign, part.losses, 1), out);
  for (std::size_t m = 0; form == Form::kDifferences && m < part.losses.size(); m += 2)
    put(part.losses[m + 1] - part.losses[m]);
  for (std::size_t m = 0; form == Form::kLosses && m < part.losses.size(); ++m) put(part.losses[m]);
  return out;
}

// Appends a rank's losses, or what gives the same fitness: 0 for plus and the difference for minus. False
// where one is out of range.
bool decode(Form form, const std::string& bytes, std::uint32_t pairs, std::vector<std::int64_t>& losses) {
  std::vector<std::int8_t> signs(form == Form::kSigns ? pairs : 0);
  if (!signs.empty() &&
      !unpack_fitness(FitnessShape::sign, std::string_view(bytes).substr(kPrefixBytes), signs))
    return false;
  std::size_t at = kPrefixBytes;
  for (std::uint32_t i = 0; i < 2 * pairs; ++i) {
    std::int64_t value = 0;
    if (form == Form::kSigns) {
      value = i % 2 == 0 ? 0 : signs[i / 2];
    } else if (form == Form::kLosses || i % 2 == 1) {
      value = static_cast<std::int64_t>(get_little_endian(bytes, at, 8));
      at += 8;
    }
    if (value <= (form == Form::kLosses ? -1 : -kMaxLoss) || value >= kMaxLoss) return false;
    losses.push_back(value);
  }
  return true;
}

}  // namespace

Result<StepOutcome> exchange_step(Cluster& cluster, FitnessShape shape, const Population& population,
                                  const StepPart& part, const Status& trouble) {
  const Form form = form_of(shape, population);
  const std::string mine = trouble.ok() ? encode(form, part) : std::string(1, kTrouble) + trouble.message();
  auto gathered = cluster.gather(mine);
  if (!trouble.ok()) return trouble;
  if (!gathered.ok()) return gathered.status();

  StepOutcome outcome{.fitness = {}, .bytes = mine.size()};
  std::vector<std::int64_t> losses;
  for (int r = 0; r < cluster.size(); ++r) {
    const std::string& bytes = gathered.value()[static_cast<std::size_t>(r)];
    const std::uint32_t count = cluster.share(population.pairs(), r).count;
    if (!bytes.empty() && bytes[0] == kTrouble) return trouble_of(r, std::string_view(bytes).substr(1));
    if (bytes.size() != encoded_bytes(form, count))
      return trouble_of(r, "sent a part of the wrong size; is it another clutch?");
    outcome.stop = outcome.stop || bytes[0] == kStop;
    if (outcome.odd_rank < 0 &&
        get_little_endian(bytes, 1, 8) != get_little_endian(gathered.value()[0], 1, 8))
      outcome.odd_rank = r;
    outcome.loss += static_cast<std::int64_t>(get_little_endian(bytes, 9, 8));
    outcome.core_ns += get_little_endian(bytes, 17, 8);
    if (!decode(form, bytes, count, losses)) return trouble_of(r, "sent what is no fitness or loss");
  }
  outcome.fitness = fitness_of(shape, comparable(losses, population), population.group_pairs());
  return outcome;
}

Status agree(Cluster& cluster, const Status& status) {
  auto gathered = cluster.gather(status.ok() ? "" : status.message());
  if (!status.ok()) return status;
  if (!gathered.ok()) return gathered.status();
  for (int r = 0; r < cluster.size(); ++r) {
    const std::string& message = gathered.value()[static_cast<std::size_t>(r)];
    if (!message.empty()) return trouble_of(r, message);
  }
  return {};
}

Result<std::string> from_rank_0(Cluster& cluster, std::string bytes) {
  auto gathered = cluster.gather(cluster.rank() == 0 ? std::string_view(bytes) : std::string_view());
  if (!gathered.ok()) return gathered.status();
  return std::move(gathered.value()[0]);
}

Status require_same(Cluster& cluster, const std::string& what, const std::string& bytes,
                    const std::string& hint) {
  auto gathered = cluster.gather(bytes);
  if (!gathered.ok()) return gathered.status();
  for (int r = 1; r < cluster.size(); ++r) {
    const std::string &theirs = gathered.value()[static_cast<std::size_t>(r)], &ours = gathered.value()[0];
    if (theirs != ours)
      return fail(what, fmt::format("rank {} has {}, rank 0 has {}", r, theirs, ours), hint);
  }
  return {};
}

}  // namespace clutch
