# The GPU backend's kernels, src/backend/cuda/runtime.cu: one object per vendor whose compiler is there. Their
# compilers run as commands, since this CMake knows no C++20 for nvcc. What they say of registers, spills and local
# memory is kept beside the objects, for a test to read.
option(CLUTCH_CUDA "GPUs of NVIDIA, where nvcc is installed" ON)
option(CLUTCH_HIP "GPUs of AMD, where hipcc is installed" ON)
set(kernels ${CMAKE_CURRENT_SOURCE_DIR}/src/backend/cuda/runtime.cu)

# Adds the object of `vendor`, compiled by `compiler` for `architectures` (as a user reads them), with further flags.
function(add_gpu_object vendor compiler architectures)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/gpu/${vendor}.o)
  add_custom_command(OUTPUT ${object} BYPRODUCTS ${CMAKE_CURRENT_BINARY_DIR}/gpu/${vendor}.report
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cmake/keep-report ${CMAKE_CURRENT_BINARY_DIR}/gpu/${vendor}.report
      ${compiler} -std=c++20 -O3 -I${CMAKE_CURRENT_SOURCE_DIR}/src -DCLUTCH_VENDOR=${vendor}
      "-DCLUTCH_ARCHITECTURES=\"${architectures}\"" ${ARGN} -MD -MF ${object}.d -c ${kernels} -o ${object}
    DEPENDS ${kernels} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/keep-report DEPFILE ${object}.d
    COMMENT "Compiling kernels for ${architectures}" VERBATIM)
  target_sources(clutch_core PRIVATE ${object})
  string(TOUPPER ${vendor} name)
  set_property(SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/src/backend/cuda/absent.cc APPEND PROPERTY
    COMPILE_DEFINITIONS CLUTCH_HAS_${name})
endfunction()

find_program(NVCC nvcc HINTS /usr/local/cuda/bin)
find_program(HIPCC hipcc HINTS /opt/rocm/bin)
set(HAS_CUDA OFF)
set(WHY_NO_CUDA "nvcc is not installed, or CLUTCH_CUDA=OFF")
set(HAS_HIP OFF)
set(WHY_NO_HIP "hipcc is not installed, or CLUTCH_HIP=OFF")
if(CMAKE_CROSSCOMPILING)
  set(WHY_NO_CUDA "this build is for another machine")
  set(WHY_NO_HIP "${WHY_NO_CUDA}")
elseif(CLUTCH_SANITIZE)
  set(WHY_NO_CUDA "sanitizers see the kernels on emulated devices")
  set(WHY_NO_HIP "${WHY_NO_CUDA}")
else()
  if(CLUTCH_CUDA AND NVCC)
    get_filename_component(cuda_root ${NVCC} REALPATH)
    get_filename_component(cuda_root ${cuda_root}/../.. ABSOLUTE)
    # The static runtime looks for the driver when it is used: the program starts without one.
    find_library(CUDART cudart_static HINTS ${cuda_root}/lib64 ${cuda_root}/lib ${cuda_root}/targets/x86_64-linux/lib)
    if(CUDART)
      set(HAS_CUDA ON)
      add_gpu_object(nvidia ${NVCC} "sm_80, sm_90a and PTX" --threads=2 --expt-relaxed-constexpr -diag-suppress=1675
        -Xptxas=-v -gencode=arch=compute_80,code=[sm_80,compute_80] -gencode=arch=compute_90a,code=sm_90a)
      target_link_libraries(clutch_core PRIVATE ${CUDART} ${CMAKE_DL_LIBS} rt)
    else()
      set(WHY_NO_CUDA "libcudart_static is not beside nvcc")
    endif()
  endif()
  if(CLUTCH_HIP AND HIPCC)
    find_library(AMDHIP amdhip64 HINTS /opt/rocm/lib)
    if(AMDHIP)
      set(HAS_HIP ON)
      add_gpu_object(amd ${HIPCC} "gfx90a and gfx1030" --offload-arch=gfx90a --offload-arch=gfx1030
        -Rpass-analysis=kernel-resource-usage -fPIC -x hip)
      target_link_libraries(clutch_core PRIVATE ${AMDHIP})
    else()
      set(WHY_NO_HIP "libamdhip64-dev is not installed")
    endif()
  endif()
endif()
