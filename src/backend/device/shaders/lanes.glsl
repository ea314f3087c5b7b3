// Invocations of a workgroup, a multiple of kTile up to kMostLanes. A GPU takes the most; a CPU that pretends runs every
// branch of the interpreter for each of its vectors, so that there few are best. FIXED_LANES: where constants cannot be
// set later.
#ifdef FIXED_LANES
layout(local_size_x = 128) in;
const uint kLanes = 128;
#else
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint kLanes = 128;
#endif
