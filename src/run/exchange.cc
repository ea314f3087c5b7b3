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

std::string encode(FitnessShape shape, const StepPart& part) {
  std::string out(1, part.stop ? kStop : kGo);
  put_little_endian(out, part.digest, 8);
  put_little_endian(
      out,
      static_cast<std::uint64_t>(std::accumulate(part.losses.begin(), part.losses.end(), std::int64_t{0})),
      8);
  put_little_endian(out, part.core_ns, 8);
  if (shape == FitnessShape::sign) {
    pack_fitness(shape, fitness_of(shape, part.losses, 1), out);  // sign knows no groups
  } else {
    for (std::size_t m = 0; m < part.losses.size(); m += 2) {
      put_little_endian(out, static_cast<std::uint64_t>(part.losses[m + 1] - part.losses[m]), 8);
    }
  }
  return out;
}

std::size_t encoded_bytes(FitnessShape shape, std::uint32_t pairs) {
  return kPrefixBytes +
         (shape == FitnessShape::sign ? packed_fitness_bytes(shape, pairs) : std::size_t{pairs} * 8);
}

}  // namespace

Result<StepOutcome> exchange_step(Cluster& cluster, FitnessShape shape, std::uint32_t pairs,
                                  std::uint32_t group_pairs, const StepPart& part, const Status& trouble) {
  const std::string mine = trouble.ok() ? encode(shape, part) : std::string(1, kTrouble) + trouble.message();
  auto gathered = cluster.gather(mine);
  if (!trouble.ok()) return trouble;
  if (!gathered.ok()) return gathered.status();

  StepOutcome outcome{.fitness = {}, .bytes = mine.size()};
  std::vector<std::int64_t> differences;  // as losses: 0 of plus, the difference of minus
  for (int r = 0; r < cluster.size(); ++r) {
    const std::string& bytes = gathered.value()[static_cast<std::size_t>(r)];
    const std::uint32_t count = cluster.share(pairs, r).count;
    if (!bytes.empty() && bytes[0] == kTrouble) return trouble_of(r, std::string_view(bytes).substr(1));
    if (bytes.size() != encoded_bytes(shape, count))
      return trouble_of(r, "sent a part of the wrong size; is it another clutch?");
    outcome.stop = outcome.stop || bytes[0] == kStop;
    if (outcome.odd_rank < 0 &&
        get_little_endian(bytes, 1, 8) != get_little_endian(gathered.value()[0], 1, 8))
      outcome.odd_rank = r;
    outcome.loss += static_cast<std::int64_t>(get_little_endian(bytes, 9, 8));
    outcome.core_ns += get_little_endian(bytes, 17, 8);
    if (shape == FitnessShape::sign) {
      std::vector<std::int8_t> fitness(count);
      if (!unpack_fitness(shape, std::string_view(bytes).substr(kPrefixBytes), fitness))
        return trouble_of(r, "sent what is no fitness");
      outcome.fitness.insert(outcome.fitness.end(), fitness.begin(), fitness.end());
      continue;
    }
    for (std::uint32_t p = 0; p < count; ++p) {
      const auto difference =
          static_cast<std::int64_t>(get_little_endian(bytes, kPrefixBytes + std::size_t{p} * 8, 8));
      if (difference < -kMaxLoss || difference > kMaxLoss)
        return trouble_of(r, "sent what is no difference of losses");
      differences.push_back(0);
      differences.push_back(difference);
    }
  }
  if (shape != FitnessShape::sign) outcome.fitness = fitness_of(shape, differences, group_pairs);
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
