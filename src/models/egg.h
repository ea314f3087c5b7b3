// The egg architecture: the minGRU-like integer network of EGGROLL (arXiv 2511.16652). docs/NUMERICS.md
// writes its formulas out.
#pragma once

#include <string>

#include "models/model.h"

namespace clutch {

Program build_egg(const ModelConfig& config);

// Recognises nano-egg's tensor names; metadata "activation" of the file, if there, is taken over.
Result<ModelConfig> infer_egg(const SafetensorsFile& file, const std::string& file_name);

}  // namespace clutch
