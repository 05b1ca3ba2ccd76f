# `cmake --install`: the program, the public headers, the libraries behind them, and a CMake package, so that
# find_package(flashmoe) gives flashmoe::flashmoe. examples/embed uses it, and a test builds that example.
include(CMakePackageConfigHelpers)

# What embedders link: the rooms that implement include/flashmoe and, through them, those they stand on.
add_library(flashmoe INTERFACE)
add_library(flashmoe::flashmoe ALIAS flashmoe)
target_link_libraries(flashmoe INTERFACE flashmoe_engine flashmoe_synthesis)
target_compile_features(flashmoe INTERFACE cxx_std_20)

# Nobody links the front ends, which are programs, or what only tests use.
get_property(modules GLOBAL PROPERTY FLASHMOE_MODULES)
list(FILTER modules EXCLUDE REGEX "^flashmoe_cli$|_testing$")

install(TARGETS flashmoe ${modules} EXPORT flashmoe_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT flashmoe_targets NAMESPACE flashmoe:: FILE flashmoeTargets.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/flashmoe)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/flashmoe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET flash-moe)
  install(TARGETS flash-moe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/flashmoeConfig.cmake.in
  ${PROJECT_BINARY_DIR}/flashmoeConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/flashmoe)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/flashmoeConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/flashmoeConfig.cmake ${PROJECT_BINARY_DIR}/flashmoeConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/flashmoe)
