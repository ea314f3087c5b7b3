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
    add_custom_command(OUTPUT ${MSL}/${kernel}.metal.h
      COMMAND ${CMAKE_COMMAND} -DFROM=${MSL}/${kernel}.metal -DTO=${MSL}/${kernel}.metal.h
        -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/as_string.cmake
      DEPENDS ${MSL}/${kernel}.metal VERBATIM)
    list(APPEND MSL_FILES ${MSL}/${kernel}.metal ${MSL}/${kernel}.metal.h)
  endforeach()
  add_custom_target(msl ALL DEPENDS ${MSL_FILES})
endif()

set(HAS_METAL OFF)
if(APPLE AND HAS_MSL)
  set(HAS_METAL ON)
  enable_language(OBJCXX)
  list(APPEND CLUTCH_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/src/backend/metal/metal.mm ${MSL_FILES})
  set_source_files_properties(src/backend/metal/metal.mm PROPERTIES COMPILE_OPTIONS -fobjc-arc)
  list(FILTER CLUTCH_SOURCES EXCLUDE REGEX "/metal/off.cc")
endif()
