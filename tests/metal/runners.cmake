# The generated Metal kernels as C++ that metal_tests runs, and what else can be checked of Metal without Apple.
foreach(kernel ${MSL_KERNELS})
  set(runner ${CMAKE_CURRENT_BINARY_DIR}/run_${kernel}.cc)
  add_custom_command(OUTPUT ${runner}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/metal/make_runner.py ${MSL}/${kernel}.metal ${kernel} > ${runner}
    DEPENDS ${MSL}/${kernel}.metal metal/make_runner.py)
  # Generated code: a GPU's arithmetic wraps, and its buffers are seen through several types.
  set_source_files_properties(${runner} PROPERTIES COMPILE_OPTIONS "-w;-O2;-fwrapv;-fno-strict-aliasing")
  list(APPEND sources ${runner})
endforeach()
list(APPEND sources metal/fibers.cc metal/cpu_gpu.cc)
