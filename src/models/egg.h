// The egg architecture: the minGRU-like integer network of EGGROLL (arXiv 2511.16652). docs/NUMERICS.md
// writes its formulas out.
#pragma once

#include <optional>

#include "models/model.h"

namespace clutch {

Status check_egg(const ModelConfig& config);
Program build_egg(const ModelConfig& config);

// Recognises nano-egg's tensor names; metadata "dialect" and "activation" of the file, if there, are taken
// over.
std::optional<ModelConfig> infer_egg(const SafetensorsFile& file);

}  // namespace clutch
