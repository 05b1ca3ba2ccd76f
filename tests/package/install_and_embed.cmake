# Run by ctest (CMakeLists.txt beside it): every step must succeed, and the example must write something.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(prefix ${scratch}/prefix)
file(REMOVE_RECURSE ${scratch})
run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix})

set(compiler_or_toolchain -D CMAKE_CXX_COMPILER=${compiler})
if(toolchain)
  set(compiler_or_toolchain --toolchain ${toolchain})
endif()
run(${CMAKE_COMMAND} -S ${source}/examples/embed -B ${scratch}/embed -G ${generator} ${compiler_or_toolchain}
  -D CMAKE_BUILD_TYPE=${build_type} -D CMAKE_CXX_FLAGS=${flags} -D CMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${scratch}/embed)

set(model ${source}/models/sprout-89m-4bit)
execute_process(COMMAND ${emulator} ${scratch}/embed/embed ${model} "Once upon a time"
  OUTPUT_VARIABLE text COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
message(STATUS "the example wrote: ${text}")
string(STRIP "${text}" text)
if(text STREQUAL "")
  message(FATAL_ERROR "the example wrote nothing")
endif()

run(${emulator} ${prefix}/bin/flash-moe --version)

# Shells and man find what belongs to the program. It is made by running it, so not by every cross build.
if(NOT toolchain OR emulator)
  foreach(file bash-completion/completions/flash-moe zsh/site-functions/_flash-moe
      fish/vendor_completions.d/flash-moe.fish man/man1/flash-moe.1 man/man1/flash-moe-run.1)
    file(SIZE ${prefix}/share/${file} size)
    if(size EQUAL 0)
      message(FATAL_ERROR "${file} is empty")
    endif()
  endforeach()
endif()
