// Dot products of four int8: by the device's instruction where it has one (HAS_DOT), else one by one.
#ifdef HAS_DOT
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int format);
int dot4(uint a, uint b) { return packed_dot(a, b, 0); }  // 0: four int8 in a word
#else
int dot4(uint a, uint b) {
  ivec4 p = unpack(a) * unpack(b);
  return p.x + p.y + p.z + p.w;
}
#endif

int dot16(uvec4 a, uvec4 b) { return dot4(a.x, b.x) + dot4(a.y, b.y) + dot4(a.z, b.z) + dot4(a.w, b.w); }
