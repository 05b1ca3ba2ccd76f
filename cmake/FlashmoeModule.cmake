# How a room (a folder under src/) becomes a library, and its *_test.cc files become ctest entries.

# The compile options shared by everything that is ours. -ffp-contract=off: the bits of the output must not depend on
# whether a compiler fuses a multiply with an add (docs/numerics.md).
add_library(flashmoe_options INTERFACE)
target_compile_features(flashmoe_options INTERFACE cxx_std_20)
# Designated initialisers leave fields to their defaults on purpose.
target_compile_options(flashmoe_options INTERFACE
  -ffp-contract=off -Wall -Wextra -Wno-missing-field-initializers
  # g++ 12 warns of std::string's own code (GCC bug 105651).
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)
# clang would refuse a precompiled header that a compiler cache gives back, for its time.
target_compile_options(flashmoe_options INTERFACE
  "$<$<COMPILE_LANG_AND_ID:CXX,Clang>:SHELL:-Xclang -fno-pch-timestamp>")
if(FLASHMOE_WERROR)
  target_compile_options(flashmoe_options INTERFACE -Werror)
endif()
if(FLASHMOE_SANITIZE)
  target_compile_options(flashmoe_options INTERFACE
    -fsanitize=${FLASHMOE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(flashmoe_options INTERFACE -fsanitize=${FLASHMOE_SANITIZE})
  target_compile_definitions(flashmoe_options INTERFACE FLASHMOE_SANITIZED)
endif()

# What the files of all rooms take longest to parse, parsed once. CMAKE_DISABLE_PRECOMPILE_HEADERS (preset dev) shows
# whether each file includes what it uses.
set(flashmoe_common_headers <algorithm> <array> <chrono> <cmath> <condition_variable> <filesystem> <fstream> <functional>
  <map> <memory> <mutex> <optional> <random> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map>
  <variant> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)

# Code that is run once costs more to optimise than it takes: commands of the program, and tests.
add_library(flashmoe_cold_options INTERFACE)
target_compile_options(flashmoe_cold_options INTERFACE $<$<CONFIG:Release>:-O1>)

# flashmoe_precompiled(NAME HEADERS...): an object library NAME that holds these and HEADERS, for REUSE_FROM.
function(flashmoe_precompiled name)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE fmt::fmt nlohmann_json::nlohmann_json flashmoe_options)
  target_precompile_headers(${name} PRIVATE ${flashmoe_common_headers} ${ARGN})
endfunction()
flashmoe_precompiled(flashmoe_headers)
set_target_properties(flashmoe_headers PROPERTIES POSITION_INDEPENDENT_CODE ON)
if(FLASHMOE_BUILD_FUZZERS)
  flashmoe_precompiled(flashmoe_fuzzed_headers)
  set_target_properties(flashmoe_fuzzed_headers PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_options(flashmoe_fuzzed_headers PRIVATE -fsanitize=fuzzer-no-link)
endif()

# flashmoe_module(NAME [FUZZED] SOURCES a.cc ... [DEPENDS base io ...] [LINK libs ...])
# Builds the static library flashmoe_NAME (alias flashmoe::NAME). DEPENDS names other rooms, LINK outside libraries.
# FUZZED: its parsers are what fuzz targets are to find their way through, so libFuzzer gets to see its branches.
function(flashmoe_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "FUZZED" "" "SOURCES;DEPENDS;LINK")
  add_library(flashmoe_${name} STATIC ${arg_SOURCES})
  add_library(flashmoe::${name} ALIAS flashmoe_${name})
  set_target_properties(flashmoe_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_include_directories(flashmoe_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  list(TRANSFORM arg_DEPENDS PREPEND flashmoe_)
  target_link_libraries(flashmoe_${name} PUBLIC ${arg_DEPENDS} ${arg_LINK}
    PRIVATE $<BUILD_INTERFACE:flashmoe_options>)
  if(arg_FUZZED AND FLASHMOE_BUILD_FUZZERS)
    target_compile_options(flashmoe_${name} PRIVATE -fsanitize=fuzzer-no-link)
    target_precompile_headers(flashmoe_${name} REUSE_FROM flashmoe_fuzzed_headers)
  else()
    target_precompile_headers(flashmoe_${name} REUSE_FROM flashmoe_headers)
  endif()
  set_property(GLOBAL APPEND PROPERTY FLASHMOE_MODULES flashmoe_${name})
endfunction()

# flashmoe_test(NAME SOURCES a_test.cc ... [DEPENDS rooms ...] [LINK libs ...] [LABEL unit] [PROPERTIES ...])
# One test binary; each TEST in it is one ctest entry, labelled with its kind (unit, property, fault, golden, ...). Under
# sanitizers the whole binary is one entry: there a process takes longer to start than most tests to run, and suites that
# load a model do so once. GTEST_FILTER leaves tests out.
function(flashmoe_test name)
  if(NOT FLASHMOE_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL" "SOURCES;DEPENDS;LINK;PROPERTIES")
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(NOT TARGET flashmoe_test_headers)
    flashmoe_precompiled(flashmoe_test_headers <gmock/gmock.h> <gtest/gtest.h>)
    target_link_libraries(flashmoe_test_headers PRIVATE GTest::gtest GTest::gmock flashmoe_cold_options)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_precompile_headers(${name} REUSE_FROM flashmoe_test_headers)
  list(TRANSFORM arg_DEPENDS PREPEND flashmoe_)
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} ${arg_LINK} flashmoe_base_testing
    GTest::gtest_main GTest::gmock flashmoe_options flashmoe_cold_options)
  if(FLASHMOE_SANITIZE)
    # Those that take minutes are shared out over two entries, which run side by side.
    set(shards ${name})
    if(arg_LABEL STREQUAL "streaming")
      set(shards ${name} ${name}_2)
    endif()
    list(LENGTH shards shard_count)
    set(shard_index 0)
    foreach(shard ${shards})
      add_test(NAME ${shard} COMMAND ${name} --gtest_brief=1)
      set_tests_properties(${shard} PROPERTIES LABELS ${arg_LABEL} TIMEOUT 2400 ${arg_PROPERTIES}
        ENVIRONMENT "GTEST_TOTAL_SHARDS=${shard_count};GTEST_SHARD_INDEX=${shard_index}")
      math(EXPR shard_index "${shard_index} + 1")
    endforeach()
  else()
    gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS ${arg_LABEL} TIMEOUT 600 ${arg_PROPERTIES})
  endif()
endfunction()

# flashmoe_fuzz(NAME SOURCES x_fuzz.cc CORPUS dir [DEPENDS rooms ...])
# A libFuzzer target. Without FLASHMOE_BUILD_FUZZERS the same file is built with a small main that replays the corpus,
# so every corpus entry is a regression test in every build. From an empty _found, what one run finds another one does.
function(flashmoe_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;DEPENDS;LINK")
  list(TRANSFORM arg_DEPENDS PREPEND flashmoe_)
  if(FLASHMOE_BUILD_FUZZERS)
    add_executable(${name} ${arg_SOURCES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  elseif(FLASHMOE_BUILD_TESTS)
    add_executable(${name} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
  else()
    return()
  endif()
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} ${arg_LINK} flashmoe_options)
  if(FLASHMOE_BUILD_FUZZERS)
    add_test(NAME ${name} COMMAND ${name} -seed=1 -max_total_time=20 -rss_limit_mb=2048 -print_final_stats=0
      ${CMAKE_CURRENT_BINARY_DIR}/${name}_found ${arg_CORPUS})
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${name}_found)
  else()
    add_test(NAME ${name} COMMAND ${name} ${arg_CORPUS})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()

# flashmoe_bench(NAME SOURCES x_bench.cc [DEPENDS rooms ...])
# A micro-benchmark (Google Benchmark), built with FLASHMOE_BUILD_BENCHMARKS; run by hand, from a release build.
function(flashmoe_bench name)
  if(NOT FLASHMOE_BUILD_BENCHMARKS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS;LINK")
  add_executable(${name} ${arg_SOURCES})
  list(TRANSFORM arg_DEPENDS PREPEND flashmoe_)
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} ${arg_LINK} benchmark::benchmark flashmoe_options)
endfunction()

# flashmoe_unite(): in every target below the current folder whose UNITY_BUILD is on, replaces our sources by files that
# include them, as many as its UNITY_BUILD_BATCH_SIZE in each. CMake's own such files name each source by its absolute
# path, which a compiler cache takes for another text in every clone; these name them from src/, where all targets look.
# Sources with compile options of their own, and those that the build folder holds, stay alone.
function(flashmoe_unite)
  set(folders ${CMAKE_CURRENT_SOURCE_DIR})
  while(folders)
    list(POP_FRONT folders folder)
    get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
    list(APPEND folders ${below})
    get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target ${targets})
      get_target_property(is_wanted ${target} UNITY_BUILD)
      if(is_wanted)
        flashmoe_unite_target(${target})
      endif()
    endforeach()
  endwhile()
endfunction()

function(flashmoe_unite_target target)
  get_target_property(sources ${target} SOURCES)
  get_target_property(source_folder ${target} SOURCE_DIR)
  get_target_property(binary_folder ${target} BINARY_DIR)
  get_target_property(batch_size ${target} UNITY_BUILD_BATCH_SIZE)
  if(batch_size EQUAL 0)
    set(batch_size -1)  # all of them, to list() as 0 is to CMake
  endif()
  set(kept "")
  set(united "")
  foreach(source ${sources})
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${source_folder} NORMALIZE OUTPUT_VARIABLE path)
    cmake_path(IS_PREFIX PROJECT_SOURCE_DIR "${path}" is_ours)
    cmake_path(IS_PREFIX PROJECT_BINARY_DIR "${path}" is_built)
    set(stays_alone ${is_built})
    foreach(property SKIP_UNITY_BUILD_INCLUSION COMPILE_OPTIONS COMPILE_DEFINITIONS)
      get_source_file_property(value "${path}" TARGET_DIRECTORY ${target} ${property})
      if(value)
        set(stays_alone TRUE)
      endif()
    endforeach()
    if(path MATCHES "\\.cc$" AND is_ours AND NOT stays_alone)
      if(NOT EXISTS "${path}")
        message(FATAL_ERROR "${target}: no such source: ${path}")
      endif()
      list(APPEND united "${path}")
    else()
      list(APPEND kept "${source}")
    endif()
  endforeach()
  set(number 0)
  while(united)
    list(SUBLIST united 0 ${batch_size} batch)
    list(REMOVE_ITEM united ${batch})
    set(text "")
    foreach(path ${batch})
      file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/src "${path}")
      string(APPEND text "#include \"${name}\"\n")
    endforeach()
    set(unit ${binary_folder}/unity/${target}_${number}.cc)
    file(CONFIGURE OUTPUT ${unit} CONTENT "${text}" @ONLY)
    list(APPEND kept ${unit})
    math(EXPR number "${number} + 1")
  endwhile()
  set_target_properties(${target} PROPERTIES SOURCES "${kept}" UNITY_BUILD OFF)
endfunction()
