# Metal's kernels: device/shaders/ through SPIR-V to the Metal shading language, kept in the build tree as msl/*.metal,
# where glslangValidator and spirv-cross are. On Apple's systems the backend is built from them; elsewhere tests check them.
find_program(SPIRV_CROSS spirv-cross)
set(HAS_MSL OFF)
if(GLSLANG AND SPIRV_CROSS)
  set(HAS_MSL ON)
endif()

set(MSL_KERNELS noise vote digest evaluate evaluate_shared)
if(HAS_MSL)
  set(MSL ${CMAKE_CURRENT_BINARY_DIR}/msl)
  file(MAKE_DIRECTORY ${MSL})
  file(GLOB SHADER_FILES CONFIGURE_DEPENDS ${SHADERS}/*)
  foreach(kernel ${MSL_KERNELS})
    # Native arrays: Metal's own template of arrays is not for threadgroup memory. Bindings begin at 1, since push
    # constants become buffer 0.
    add_custom_command(OUTPUT ${MSL}/${kernel}.metal
      COMMAND ${GLSLANG} -V --quiet --target-env vulkan1.1 -DFIXED_LANES ${SHADER_FLAGS_${kernel}}
        -o ${MSL}/${kernel}.spv ${SHADERS}/${SHADER_SOURCE_${kernel}}
      COMMAND ${SPIRV_CROSS} --msl --msl-version 20400 --msl-decoration-binding --msl-force-native-arrays
        --rename-entry-point main clutch_${kernel} comp --output ${MSL}/${kernel}.metal ${MSL}/${kernel}.spv
      DEPENDS ${SHADER_FILES} VERBATIM)
    list(APPEND MSL_FILES ${MSL}/${kernel}.metal)
  endforeach()
  add_custom_target(msl DEPENDS ${MSL_FILES})
endif()
