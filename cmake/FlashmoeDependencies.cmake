# Outside libraries (docs/dependencies.md says why each). Only find_package and pkg-config: nothing is downloaded.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
# Its header alone: what is installed of us does not refer to it.
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)

# io_uring is Linux only and optional: without it reads go through a pool of pread threads.
option(FLASHMOE_IO_URING "Use io_uring where liburing is found" ON)
set(FLASHMOE_HAVE_IO_URING OFF)
if(FLASHMOE_IO_URING)
  pkg_check_modules(LIBURING IMPORTED_TARGET liburing)
  set(FLASHMOE_HAVE_IO_URING ${LIBURING_FOUND})
endif()

# Line editing in `flash-moe chat`; without it that reads plain lines.
option(FLASHMOE_LIBEDIT "Use libedit where it is found" ON)
set(FLASHMOE_HAVE_LIBEDIT OFF)
if(FLASHMOE_LIBEDIT)
  pkg_check_modules(LIBEDIT IMPORTED_TARGET libedit)
  set(FLASHMOE_HAVE_LIBEDIT ${LIBEDIT_FOUND})
endif()

# Markdown and coloured code in the web page; without them it shows answers as plain text. It renders nothing that DOMPurify
# has not seen. Where Debian or npm put them: with CMAKE_PREFIX_PATH=DIR/node_modules, npm's are found.
option(FLASHMOE_WEB_LIBRARIES "Put marked, DOMPurify and highlight.js into the web page where they are found" ON)
if(FLASHMOE_WEB_LIBRARIES)
  list(TRANSFORM CMAKE_SYSTEM_PREFIX_PATH APPEND /share OUTPUT_VARIABLE shares)
  set(places HINTS ${CMAKE_PREFIX_PATH} ${shares} NO_CMAKE_FIND_ROOT_PATH)
  find_file(FLASHMOE_MARKED marked.min.js marked.umd.min.js ${places}
    PATH_SUFFIXES marked marked/lib javascript/marked nodejs/marked nodejs/marked/lib)
  find_file(FLASHMOE_PURIFY purify.min.js ${places}
    PATH_SUFFIXES dompurify dompurify/dist javascript/dompurify nodejs/dompurify/dist)
  find_file(FLASHMOE_HIGHLIGHT highlight.js ${places} PATH_SUFFIXES highlight.js/lib nodejs/highlight.js/lib)
endif()

if(FLASHMOE_BUILD_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
if(FLASHMOE_BUILD_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
