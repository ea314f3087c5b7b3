# The generated Metal kernels as C++ that metal_tests runs, and what else can be checked of Metal without Apple.
foreach(kernel ${MSL_KERNELS})
  set(runner ${CMAKE_CURRENT_BINARY_DIR}/run_${kernel}.cc)
  add_custom_command(OUTPUT ${runner}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/metal/make_runner.py ${MSL}/${kernel}.metal ${kernel} > ${runner}
    DEPENDS ${MSL}/${kernel}.metal metal/make_runner.py)
  # Generated code: a GPU's arithmetic wraps, and its buffers are seen through several types.
  set_source_files_properties(${runner} PROPERTIES COMPILE_OPTIONS "-w;-O2;-fwrapv;-fno-strict-aliasing;-fno-sanitize=all")
  list(APPEND sources ${runner})
endforeach()
list(APPEND sources metal/fibers.cc metal/cpu_gpu.cc)

find_program(CLANG NAMES clang clang-14 clang-15 clang-16)
find_program(CLANGXX NAMES clang++ clang++-14 clang++-15 clang++-16)
if(CLANG)
  list(TRANSFORM MSL_KERNELS PREPEND ${MSL}/ OUTPUT_VARIABLE msl_paths)
  list(TRANSFORM msl_paths APPEND .metal)
  add_test(NAME metal/syntax_and_address_spaces
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/metal/check_msl.py ${CLANG} ${msl_paths})
else()
  add_test(NAME metal/syntax_and_address_spaces COMMAND sh -c "echo needs clang; exit 77")
  set_tests_properties(metal/syntax_and_address_spaces PROPERTIES SKIP_RETURN_CODE 77)
endif()
if(CLANGXX)
  add_test(NAME metal/host_file COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/metal/compile_host.sh ${CLANGXX} ${CMAKE_BINARY_DIR})
else()
  add_test(NAME metal/host_file COMMAND sh -c "echo needs clang++; exit 77")
endif()
set_tests_properties(metal/host_file PROPERTIES SKIP_RETURN_CODE 77)
set_tests_properties(metal/syntax_and_address_spaces metal/host_file PROPERTIES LABELS fast)
