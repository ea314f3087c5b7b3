# One object per instruction set of the CPU backend, each with its own flags; the rest of the program stays at the
# baseline. The objects are a library of their own so that a test can look at their symbols.
set(CLUTCH_ISA_FLAGS_scalar "")
set(CLUTCH_ISA_FLAGS_avx512vnni -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mpopcnt)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(CLUTCH_ISAS scalar avx512vnni)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(CLUTCH_ISAS scalar)
else()
  set(CLUTCH_ISAS scalar)
endif()

add_library(clutch_isa OBJECT)
target_include_directories(clutch_isa PRIVATE src)
target_link_libraries(clutch_isa PRIVATE clutch_flags)
foreach(isa ${CLUTCH_ISAS})
  set(source src/backend/cpu/isa/${isa}.cc)
  target_sources(clutch_isa PRIVATE ${source})
  # Optimised in every build: unoptimised intrinsics are a hundred times slower.
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${CLUTCH_ISA_FLAGS_${isa}};-O3;-Wno-maybe-uninitialized;-Wno-uninitialized")
endforeach()
target_sources(clutch_core PRIVATE $<TARGET_OBJECTS:clutch_isa>)
